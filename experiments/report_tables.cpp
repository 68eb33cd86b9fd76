#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "core/base/text.h"
#include "experiments/report_html.h"
#include "experiments/report_parts.h"
#include "experiments/report_plots.h"

namespace thaw::report {

namespace {

const ReportFigure* find_figure(const std::vector<ReportFigure>& figures, const std::string& name) {
  for (const ReportFigure& figure : figures)
    if (figure.name == name) return &figure;
  return nullptr;
}

std::string count_text(const std::optional<double>& n) {
  return n ? exact(*n) : "";
}

std::vector<std::string> samplers_of(const ReportComparison& comparison) {
  std::vector<std::string> names;
  for (const ReportCell& cell : comparison.cells)
    if (std::find(names.begin(), names.end(), cell.sampler) == names.end()) names.push_back(cell.sampler);
  return names;
}

/// Names of the cells' figures, the judging one first.
std::vector<std::string> figures_of(const ReportComparison& comparison) {
  std::vector<std::string> names;
  for (const ReportCell& cell : comparison.cells)
    for (const ReportFigure& figure : cell.figures)
      if (std::find(names.begin(), names.end(), figure.name) == names.end()) names.push_back(figure.name);
  std::stable_partition(names.begin(), names.end(),
                        [&](const std::string& name) { return name == comparison.quality; });
  return names;
}

std::string cell_html(const ReportCell& cell, const ReportComparison& comparison) {
  const std::string what = concat(cell.sampler, ", ", number(cell.evaluations), " evaluations");
  std::string html;
  if (cell.picture) html += media_element(*cell.picture, concat("Samples of ", what), 220);
  if (!cell.refused.empty()) return html + concat("<p class=\"refused\">refused: ", escape(cell.refused), "</p>");
  html += "<dl>";
  for (const ReportFigure& figure : cell.figures) {
    const bool leads = figure.name == comparison.quality;
    const std::string range = interval(figure);
    html += concat("<div", leads ? " class=\"lead\"" : "", "><dt>", readable(figure.name), "</dt><dd>",
                   exact(figure.value), range.empty() ? "" : concat(" <small>", range, "</small>"), "</dd></div>");
  }
  if (cell.seconds_per_sample)
    html += concat("<div><dt>a sample</dt><dd>", duration(*cell.seconds_per_sample), "</dd></div>");
  else if (cell.seconds)
    html += concat("<div><dt>time</dt><dd>", duration(*cell.seconds), "</dd></div>");
  if (cell.evaluations_used && *cell.evaluations_used != cell.evaluations)
    html += concat("<div><dt>evaluations used</dt><dd>", exact(*cell.evaluations_used), "</dd></div>");
  return html + "</dl>";
}

std::string comparison_table(const ReportComparison& comparison) {
  std::set<double> budgets;
  for (const ReportCell& cell : comparison.cells) budgets.insert(cell.evaluations);
  std::string html =
      "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Comparison table\">"
      "<table class=\"compare\" style=\"min-width:" +
      number(8 + 10 * static_cast<double>(budgets.size())) + "rem\">\n<thead><tr><th scope=\"col\">sampler</th>";
  for (const double budget : budgets)
    html += concat("<th scope=\"col\">", exact(budget), budget == 1 ? " evaluation" : " evaluations", "</th>");
  html += "</tr></thead>\n<tbody>\n";
  for (const std::string& sampler : samplers_of(comparison)) {
    html += concat("<tr><th scope=\"row\">", escape(sampler), "</th>");
    for (const double budget : budgets) {
      const auto cell = std::find_if(comparison.cells.begin(), comparison.cells.end(), [&](const ReportCell& one) {
        return one.sampler == sampler && one.evaluations == budget;
      });
      html += cell == comparison.cells.end() ? "<td class=\"none\">not run</td>"
                                             : concat("<td>", cell_html(*cell, comparison), "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string describe_cell(const ReportCell& cell, const ReportFigure& figure, const std::string& name) {
  std::string text = concat(cell.sampler, ", ", number(cell.evaluations_used.value_or(cell.evaluations)),
                            " evaluations\n", name, " ", number(figure.value));
  if (figure.low && figure.high) text += concat(" (", number(*figure.low), " to ", number(*figure.high), ")");
  if (figure.n) text += concat("\nn = ", number(*figure.n));
  if (cell.seconds_per_sample) text += concat("\n", duration(*cell.seconds_per_sample), " a sample");
  return text;
}

/// One figure of the cells against what it costs: evaluations, or seconds a sample.
std::string cost_plot(const ReportComparison& comparison, const std::string& figure_name, bool is_time) {
  std::string name = figure_name;
  std::replace(name.begin(), name.end(), '_', ' ');
  Plot plot{
      concat(name, is_time ? " against seconds a sample" : " against network evaluations", ", one line a sampler."),
      {is_time ? "seconds a sample" : "network evaluations", true},
      {name}};
  plot.width = 460;
  plot.reads_by_x = false;
  std::set<double> budgets;
  double least = INFINITY, most = 0;
  int index = 0;
  for (const std::string& sampler : samplers_of(comparison)) {
    PlotSeries series{sampler, concat("s", index % 8 + 1), index % 4};
    ++index;
    for (const ReportCell& cell : comparison.cells) {
      const ReportFigure* figure = find_figure(cell.figures, figure_name);
      const auto cost = is_time                 ? cell.seconds_per_sample
                        : cell.evaluations_used ? cell.evaluations_used
                                                : cell.evaluations;
      if (cell.sampler != sampler || figure == nullptr || !cost || !(*cost > 0)) continue;
      series.points.push_back({*cost, figure->value, figure->low, figure->high, describe_cell(cell, *figure, name)});
      budgets.insert(cell.evaluations);
      least = std::min(least, figure->value);
      most = std::max(most, figure->value);
    }
    std::sort(series.points.begin(), series.points.end(),
              [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
    if (!series.points.empty()) plot.series.push_back(std::move(series));
  }
  plot.y.is_log = least > 0 && most > 8 * least;
  if (!is_time && budgets.size() <= 10) plot.x.ticks.assign(budgets.begin(), budgets.end());
  return render_plot(plot);
}

// What a figure is at each place along the samples.
std::string along_plot(const ReportAlong& along) {
  std::string name = along.figure;
  std::replace(name.begin(), name.end(), '_', ' ');
  const std::string axis = along.axis.empty() ? "place" : along.axis;
  Plot plot{concat(name, " at each ", axis, "."), {axis}, {name}};
  int index = 0;
  for (const auto& [series_name, values] : along.series) {
    PlotSeries series{series_name, concat("s", index % 8 + 1), index % 4};
    ++index;
    for (std::size_t i = 0; i < values.size(); ++i)
      series.points.push_back({static_cast<double>(i),
                               values[i],
                               {},
                               {},
                               concat(axis, " ", i, "\n", name, " ", number(values[i]), " (", series_name, ")")});
    plot.series.push_back(std::move(series));
  }
  const std::string drawn = render_plot(plot);
  if (drawn.empty()) return "";
  if (!name.empty()) name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  return concat("<h3>", escape(name), " by ", escape(axis), "</h3>\n", drawn);
}

std::string measurement_row(const ReportFigure& figure) {
  std::string html = concat("<tr><th scope=\"row\">", readable(figure.name), "</th><td class=\"value\">",
                            exact(figure.value), "</td><td>", interval(figure), "</td><td>", count_text(figure.n),
                            "</td><td class=\"protocol\">", escape(figure.protocol), "</td></tr>\n");
  for (const auto& [name, value] : figure.beside)
    html += concat("<tr class=\"beside\"><th scope=\"row\">", readable(figure.name), ", ", escape(name),
                   "</th><td class=\"value\">", exact(value), "</td><td></td><td></td><td></td></tr>\n");
  return html;
}

std::string stages_table(const ReportData& data) {
  double total = 0;
  std::vector<std::string> others;
  for (const ReportStage& stage : data.stages)
    for (const auto& [key, value] : stage.figures) {
      if (key == "seconds" && std::isfinite(value))
        total += value;
      else if (key != "seconds" && std::find(others.begin(), others.end(), key) == others.end())
        others.push_back(key);
    }
  std::string html =
      "<div class=\"wide\"><table class=\"stages\">\n<thead><tr><th scope=\"col\">stage</th>"
      "<th scope=\"col\" colspan=\"2\">time</th>";
  for (const std::string& name : others) html += concat("<th scope=\"col\">", readable(name), "</th>");
  html += "</tr></thead>\n<tbody>\n";
  for (const ReportStage& stage : data.stages) {
    const auto value_of = [&](const std::string& name) -> const double* {
      for (const auto& [key, value] : stage.figures)
        if (key == name) return &value;
      return nullptr;
    };
    const double* seconds = value_of("seconds");
    html +=
        concat("<tr><th scope=\"row\">", readable(stage.name), "</th><td class=\"value\">",
               seconds ? concat("<data value=\"", format_double(*seconds), "\">", duration(*seconds), "</data>") : "",
               "</td><td class=\"share\">");
    if (seconds != nullptr && total > 0 && *seconds >= 0)
      html += concat("<span style=\"width:", format_short(100 * *seconds / total, 3), "%\"></span>");
    html += "</td>";
    for (const std::string& name : others) {
      const double* value = value_of(name);
      html += concat("<td class=\"value\">", value ? exact(*value) : "", "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string facts_table(const std::vector<std::pair<std::string, std::string>>& facts) {
  std::string html = "<div class=\"wide\"><table class=\"facts\">\n<tbody>\n";
  for (const auto& [name, text] : facts)
    html += concat("<tr><th scope=\"row\">", readable(name), "</th><td>", escape(text), "</td></tr>\n");
  return html + "</tbody></table></div>\n";
}

}  // namespace

const ReportFigure* leading_figure(const ReportData& data) {
  if (const ReportFigure* figure = find_figure(data.figures, data.comparison.quality)) return figure;
  return data.figures.empty() ? nullptr : &data.figures.front();
}

std::string comparison_section(const ReportData& data) {
  if (data.comparison.cells.empty()) return "";
  std::string html = "<section>\n" + heading("comparison", "Samplers compared");
  html += "<p>One network. Each row is a sampler, each column how often it may ask the network for one sample.</p>\n";
  html += comparison_table(data.comparison);
  const std::vector<std::string> names = figures_of(data.comparison);
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 3); ++i)
    html += concat("<div class=\"pair\">\n", cost_plot(data.comparison, names[i], false),
                   cost_plot(data.comparison, names[i], true), "</div>\n");
  return html + "</section>\n";
}

std::string measurements_section(const ReportData& data) {
  if (data.figures.empty() && data.facts.empty() && data.stages.empty()) return "";
  std::string html = "<section>\n" + heading("measurements", "Measurements");
  if (!data.figures.empty()) {
    html +=
        "<div class=\"wide\"><table class=\"measurements\">\n<thead><tr><th scope=\"col\">measure</th>"
        "<th scope=\"col\">value</th><th scope=\"col\">interval</th><th scope=\"col\">n</th>"
        "<th scope=\"col\">protocol</th></tr></thead>\n<tbody>\n";
    for (const ReportFigure& figure : data.figures) html += measurement_row(figure);
    html += "</tbody></table></div>\n";
  }
  for (const ReportAlong& along : data.along) html += along_plot(along);
  html += distribution_plots(data.distributions);
  html += prompts_table(data.prompts);
  if (!data.facts.empty()) html += facts_table(data.facts);
  if (!data.stages.empty()) html += "<h3>Time of each stage</h3>\n" + stages_table(data);
  return html + "</section>\n";
}

std::string reproduction_section(const ReportData& data) {
  if (data.environment.empty() && data.config_text.empty()) return "";
  std::string html = "<section>\n" + heading("reproduction", "Reproduction");
  for (const auto& [name, text] : data.environment)
    if (name == "command" && !text.empty())
      html += concat("<p>The command that made this run:</p>\n<pre class=\"command\"><code>", escape(text),
                     "</code></pre>\n");
  if (!data.environment.empty()) html += "<h3>Environment</h3>\n" + facts_table(data.environment);
  if (!data.config_text.empty())
    html += concat("<details>\n<summary>The resolved configuration, config.resolved.yaml</summary>\n<pre><code>",
                   escape(data.config_text), "</code></pre>\n</details>\n");
  return html + "</section>\n";
}

}  // namespace thaw::report
