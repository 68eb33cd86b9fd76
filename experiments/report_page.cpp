#include <algorithm>
#include <cmath>

#include "core/base/text.h"
#include "experiments/report.h"
#include "experiments/report_assets.h"
#include "experiments/report_clouds.h"
#include "experiments/report_html.h"
#include "experiments/report_parts.h"

namespace thaw {

namespace {

using namespace report;

std::string strong(const std::string& text) {
  return concat("<b>", text, "</b>");
}

std::string name_or(const std::string& name, const char* otherwise) {
  return name.empty() ? otherwise : strong(escape(name));
}

std::optional<double> stage_seconds(const ReportData& data, std::string_view name) {
  for (const ReportStage& stage : data.stages)
    for (const auto& [key, value] : stage.figures)
      if (stage.name == name && key == "seconds") return value;
  return std::nullopt;
}

std::optional<double> training_seconds(const ReportData& data) {
  if (const auto seconds = stage_seconds(data, "train")) return seconds;
  return data.training.empty() ? std::nullopt : data.training.back().seconds;
}

std::string environment_text(const ReportData& data, std::string_view name) {
  for (const auto& [key, text] : data.environment)
    if (key == name) return text;
  return "";
}

std::string figure_sentence(const ReportFigure& figure) {
  std::string text = concat(readable(figure.name), " ", strong(exact(figure.value)));
  std::vector<std::string> beliefs;
  const std::string range = interval(figure);
  if (!range.empty()) beliefs.push_back("interval " + range);
  if (figure.n) beliefs.push_back("n&nbsp;=&nbsp;" + exact(*figure.n));
  for (const auto& [name, value] : figure.beside) beliefs.push_back(concat(escape(name), " ", exact(value)));
  return beliefs.empty() ? text : concat(text, " (", join(beliefs, ", "), ")");
}

std::string training_sentence(const ReportData& data) {
  const ReportSetup& setup = data.setup;
  if (data.training.empty() && setup.dataset.empty() && setup.backbone.empty()) return "";
  std::string text =
      concat("The network ", name_or(setup.backbone, "of this run"),
             data.training.empty() ? " is set up for " : " learned ", name_or(setup.dataset, "its data"));
  if (!data.training.empty()) {
    text += concat(" in ", strong(exact(data.training.back().step)), " steps");
    if (!setup.batch.empty()) text += concat(" of ", escape(setup.batch), " samples");
    if (const auto seconds = training_seconds(data)) text += concat(", ", strong(duration(*seconds)));
    const std::string device = environment_text(data, "device");
    if (!device.empty()) text += concat(" on ", escape(device));
  }
  std::vector<std::string> with;
  if (!setup.objective.empty()) with.push_back(concat("objective ", escape(setup.objective)));
  if (!setup.prediction.empty()) with.push_back(concat("prediction ", escape(setup.prediction)));
  if (!setup.schedule.empty()) with.push_back(concat("schedule ", escape(setup.schedule)));
  if (!with.empty()) text += concat(" (", join(with, ", "), ")");
  return text + ".";
}

std::string loss_sentence(const ReportData& data) {
  std::string text;
  if (data.training.size() > 1) {
    const std::vector<double> smoothed = smoothed_loss(data.training);
    text = concat(" Its smoothed loss went from ", number(smoothed.front()), " to ", strong(number(smoothed.back())));
  }
  if (data.validation.empty()) return text.empty() ? "" : text + ".";
  text += text.empty() ? " Its loss" : "; the loss";
  return concat(text, " on held-out data is ", strong(exact(data.validation.back().loss)), " at step ",
                number(data.validation.back().step), ".");
}

std::string sampling_sentence(const ReportData& data) {
  if (data.figures.empty()) return "";
  const ReportSetup& setup = data.setup;
  const bool has_samples = !data.samples.empty() || !data.comparison.cells.empty();
  std::string text = has_samples ? " Measured on its samples" : " Measured";
  if (has_samples && !setup.sampler.empty()) {
    text += concat(", drawn with ", strong(escape(setup.sampler)));
    if (!setup.grid_steps.empty()) text += concat(" in ", escape(setup.grid_steps), " steps");
    if (!setup.guidance.empty() && setup.guidance != "none") {
      text += concat(" under ", escape(setup.guidance), " guidance");
      if (!setup.guidance_scale.empty()) text += concat(" ", escape(setup.guidance_scale));
    }
  }
  std::vector<std::string> figures;
  const ReportFigure* leading = leading_figure(data);
  figures.push_back(figure_sentence(*leading));
  for (const ReportFigure& figure : data.figures)
    if (&figure != leading && figures.size() < 3) figures.push_back(figure_sentence(figure));
  return concat(text, ": ", join(figures, "; "), ".");
}

std::string key_figure(const std::string& value, const std::string& name, const std::string& note) {
  return concat("<div><dt>", name, "</dt><dd><strong>", value, "</strong><small>", note, "</small></dd></div>\n");
}

std::string key_figures(const ReportData& data) {
  std::vector<std::string> shown;
  const ReportFigure* leading = leading_figure(data);
  const auto add = [&](const ReportFigure& figure) {
    std::vector<std::string> notes;
    if (const std::string range = interval(figure); !range.empty()) notes.push_back(range);
    for (const auto& [name, value] : figure.beside) notes.push_back(concat(escape(name), " ", exact(value)));
    if (figure.n) notes.push_back("n&nbsp;=&nbsp;" + exact(*figure.n));
    shown.push_back(key_figure(exact(figure.value), readable(figure.name), join(notes, ", ")));
  };
  if (leading != nullptr) add(*leading);
  for (const ReportFigure& figure : data.figures)
    if (&figure != leading && shown.size() < 2) add(figure);
  if (!data.validation.empty())
    shown.push_back(key_figure(exact(data.validation.back().loss), "held-out loss",
                               concat("step ", number(data.validation.back().step))));
  if (const auto seconds = training_seconds(data); seconds && !data.training.empty())
    shown.push_back(key_figure(duration(*seconds), "training", concat(exact(data.training.back().step), " steps")));
  return shown.empty() ? "" : concat("<dl class=\"key\">\n", join(shown, ""), "</dl>\n");
}

std::string header(const ReportData& data) {
  std::string html =
      concat("<header>\n<p class=\"eyebrow\">Thaw diffusion run</p>\n<h1>", escape(data.title), "</h1>\n");
  const std::string summary = concat(training_sentence(data), loss_sentence(data), sampling_sentence(data));
  if (!summary.empty()) html += concat("<p class=\"summary\">", summary, "</p>\n");
  html += key_figures(data);
  std::vector<std::string> origin;
  for (const char* name : {"commit", "device", "threads", "started"}) {
    const std::string text = environment_text(data, name);
    if (!text.empty()) origin.push_back(concat("<span>", name, " ", escape(text), "</span>"));
    if (!text.empty() && name == std::string_view("commit") && environment_text(data, "changed_sources") == "true")
      origin.push_back("<span>built from sources changed since</span>");
  }
  if (!origin.empty()) html += concat("<p class=\"origin\">", join(origin, " "), "</p>\n");
  return html + "</header>\n";
}

std::string media_section(const std::string& id, const std::string& title, const std::string& text,
                          const std::string& media) {
  const std::string intro = text.empty() ? "" : concat("<p>", text, "</p>\n");
  return concat("<section>\n", heading(id, title), intro, media, "</section>\n");
}

/// The samples that lie nearest to training examples, and those.
std::string nearest_section(const ReportData& data) {
  if (data.nearest_samples.empty() && data.memorisation.empty()) return "";
  std::string text =
      concat(strong(data.memorisation.starts_with("samples copy") ? "Copies." : ""),
             data.memorisation.empty() ? "" : concat(" ", escape(data.memorisation), "."),
             " At the left the samples that lie nearest to a training example, at the right that example.");
  for (const ReportFigure& figure : data.figures)
    if (figure.name == "nearest_training" && !figure.beside.empty())
      text += concat(" Held-out examples lie ", exact(figure.beside.front().second), " from theirs on average.");
  return media_section(
      "nearest", "Nearest training examples", text,
      beside(data.nearest_samples, data.nearest_training, "Nearest", {"generated", "training example"}));
}

/// One sentence for each part that the run has nothing for.
std::string left_out(const ReportData& data) {
  std::string html;
  const auto say = [&](bool is_absent, const char* sentence) {
    if (is_absent) html += concat("<li>", sentence, "</li>\n");
  };
  say(data.training.empty(), "There is no training curve: metrics.jsonl holds no training step.");
  say(data.validation.empty(), "There is no held-out loss: metrics.jsonl holds no validation.");
  say(data.forward.empty(), "The forward process is not shown: pictures/index.json lists no picture of it.");
  say(data.reverse.empty(), "The reverse process is not shown: pictures/index.json lists no picture of it.");
  say(data.samples.empty(), "No samples are shown: pictures/index.json lists none.");
  say(data.figures.empty(), "Nothing was measured: metrics.json holds no figure.");
  say(data.comparison.cells.empty(), "No samplers were compared: metrics.json holds no comparison.");
  say(data.stages.empty(), "The times of the stages are unknown: metrics.json does not hold them.");
  say(data.config_text.empty(), "The configuration is unknown: there is no config.resolved.yaml.");
  say(data.environment.empty(), "Where and how the run was made is unknown: there is no environment.json.");
  if (html.empty()) return "";
  return concat("<section class=\"left-out\">\n", heading("left-out", "Not on this page"), "<ul>\n", html,
                "</ul>\n</section>\n");
}

/// Links to the sections that stand, read off their headings.
std::string contents(const std::string& body) {
  std::string links;
  for (std::size_t at = body.find("<h2 id=\""); at != std::string::npos; at = body.find("<h2 id=\"", at + 1)) {
    const std::size_t id = at + 8, id_end = body.find('"', id), end = body.find("</h2>", id_end);
    links +=
        concat("<a href=\"#", body.substr(id, id_end - id), "\">", body.substr(id_end + 2, end - id_end - 2), "</a>\n");
  }
  return links.empty() ? "" : concat("<nav aria-label=\"Sections\">\n", links, "</nav>\n");
}

}  // namespace

std::string render_report(const ReportData& data) {
  std::string body = training_section(data);
  if (!data.forward.empty())
    body += media_section("forward", "From data to noise",
                          "The forward process: a clean sample, and what each level of noise leaves of it.",
                          media_list(data.forward, "Forward process"));
  if (!data.reverse.empty())
    body += media_section("reverse", "From noise to data",
                          "The reverse process: the sampler starts from noise and asks the network at every step.",
                          stepper(data.reverse, "reverse", "Reverse process"));
  if (!data.samples.empty())
    body += data.real.empty()
                ? media_section("samples", "Samples", "", media_list(data.samples, "Samples"))
                : media_section("samples", "Samples", "At the left what was generated, at the right held-out examples.",
                                beside(data.samples, data.real, "Samples"));
  if (!data.reconstructions.empty())
    body += media_section("reconstructions", "Reconstructions",
                          "Held-out examples through the autoencoder, at the left what it gives back.",
                          beside(data.reconstructions, data.originals, "Reconstructions", {"given back", "original"}));
  body += nearest_section(data);
  body += comparison_section(data);
  body += measurements_section(data);
  body += reproduction_section(data);
  body += left_out(data);
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n";
  page += concat("<title>", escape(data.title), "</title>\n<style>", kReportStyle, "</style>\n<script>",
                 kReportErrorCounter, "</script>\n</head>\n<body>\n<main>\n");
  page += header(data);
  page += contents(body);
  page += body;
  return page + concat("</main>\n<dialog class=\"zoom\"></dialog>\n<script>", kReportClouds, kReportScript,
                       "</script>\n</body>\n</html>\n");
}

}  // namespace thaw
