#include <algorithm>
#include <cmath>

#include "core/base/text.h"
#include "experiments/report_html.h"
#include "experiments/report_parts.h"
#include "experiments/report_plots.h"

namespace thaw::report {

namespace {

constexpr std::size_t kMaxDrawn = 500;  // points of a line; more are thinner than a pixel

/// Indices that cut `size` points into at most kMaxDrawn runs: the last index of each run.
std::vector<std::size_t> run_ends(std::size_t size) {
  const std::size_t runs = std::min(size, kMaxDrawn);
  std::vector<std::size_t> ends(runs);
  for (std::size_t i = 0; i < runs; ++i) ends[i] = (i + 1) * size / runs - 1;
  return ends;
}

/// The raw curve: of each run its lowest and highest value, so that a spike stays visible.
std::vector<PlotPoint> raw_points(const std::vector<ReportTrainingPoint>& points) {
  std::vector<PlotPoint> drawn;
  std::size_t first = 0;
  for (const std::size_t last : run_ends(points.size())) {
    std::size_t low = first, high = first;
    for (std::size_t i = first; i <= last; ++i) {
      if (!(points[i].loss >= points[low].loss)) low = i;
      if (!(points[i].loss <= points[high].loss)) high = i;
    }
    drawn.push_back({points[std::min(low, high)].step, points[std::min(low, high)].loss});
    if (low != high) drawn.push_back({points[std::max(low, high)].step, points[std::max(low, high)].loss});
    first = last + 1;
  }
  return drawn;
}

std::string describe_point(const ReportTrainingPoint& point, double smoothed) {
  std::string text =
      concat("step ", number(point.step), "\nloss ", number(point.loss), ", smoothed ", number(smoothed));
  if (point.learning_rate) text += concat("\nlearning rate ", number(*point.learning_rate));
  if (point.grad_norm) text += concat("\ngradient norm ", number(*point.grad_norm));
  if (point.samples) text += concat("\n", number(*point.samples), " samples");
  if (point.seconds) text += concat(" after ", duration(*point.seconds));
  return text;
}

std::string loss_plot(const ReportData& data) {
  Plot plot{"", {"step"}, {"loss", true}};
  plot.height = 330;
  if (!data.training.empty()) {
    const std::vector<double> smoothed = smoothed_loss(data.training);
    PlotSeries raw{"each logged step", "s1 faint"}, smooth{"smoothed", "s1"};
    raw.points = raw_points(data.training);
    for (const std::size_t i : run_ends(data.training.size()))
      smooth.points.push_back(
          {data.training[i].step, smoothed[i], {}, {}, describe_point(data.training[i], smoothed[i])});
    plot.description = concat("Training loss against steps, from ", number(smoothed.front()), " to ",
                              number(smoothed.back()), " smoothed.");
    plot.series = {raw, smooth};
  }
  if (!data.validation.empty()) {
    PlotSeries held_out{"held-out data", "s2", 0};
    for (const std::size_t i : run_ends(data.validation.size())) {
      const ReportValidation& point = data.validation[i];
      held_out.points.push_back({point.step,
                                 point.loss,
                                 {},
                                 {},
                                 concat("step ", number(point.step), "\nheld-out loss ", number(point.loss))});
    }
    plot.description += concat(" Loss on held-out data, last ", number(data.validation.back().loss), ".");
    plot.series.push_back(std::move(held_out));
  }
  return render_plot(plot);
}

/// One logged value over the steps, in a plot of half the width.
std::string small_plot(const ReportData& data, const std::string& name,
                       std::optional<double> ReportTrainingPoint::*member, bool is_log) {
  PlotSeries series{"", "s1"};
  for (const std::size_t i : run_ends(data.training.size())) {
    const ReportTrainingPoint& point = data.training[i];
    if (!(point.*member)) continue;
    const double value = *(point.*member);
    series.points.push_back(
        {point.step, value, {}, {}, concat("step ", number(point.step), "\n", name, " ", number(value))});
  }
  return render_plot({concat(name, " against steps"), {"step"}, {name, is_log}, {series}, 460, 200});
}

std::string by_level_plot(const ReportData& data) {
  std::vector<const ReportValidation*> measured;
  for (const ReportValidation& validation : data.validation)
    if (!validation.by_level.empty()) measured.push_back(&validation);
  if (measured.empty()) return "";

  Plot plot{concat("Held-out loss against the noise level lambda at step ", number(measured.back()->step), "."),
            {"lambda = ln(alpha / sigma): noise at the left, data at the right"},
            {"held-out loss", true}};
  const std::size_t shown = std::min<std::size_t>(measured.size(), 4);
  for (std::size_t i = 0; i < shown; ++i) {
    const ReportValidation& validation = *measured[shown == 1 ? 0 : i * (measured.size() - 1) / (shown - 1)];
    const bool is_last = i + 1 == shown;
    PlotSeries series{concat("step ", number(validation.step)), is_last ? "s2" : concat("s2 age", shown - 1 - i),
                      is_last ? 0 : -1};
    for (const auto& [lambda, loss] : validation.by_level)
      series.points.push_back(
          {lambda,
           loss,
           {},
           {},
           concat("lambda ", number(lambda), "\nloss ", number(loss), " at step ", number(validation.step))});
    std::sort(series.points.begin(), series.points.end(),
              [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
    plot.series.push_back(std::move(series));
  }
  const std::string drawn = render_plot(plot);
  if (drawn.empty()) return "";
  return concat(
      "<h3>Loss by noise level</h3>\n<p>The same network, asked at each level of noise apart: a mean over "
      "levels can hide the one where it fails.</p>\n",
      drawn);
}

}  // namespace

std::vector<double> smoothed_loss(const std::vector<ReportTrainingPoint>& points) {
  const double halflife_points = std::max(1.0, 0.01 * static_cast<double>(points.size()));
  const double keep = std::exp2(-1 / halflife_points);
  // Weighted sums over what came before and what comes after, each with the point itself.
  std::vector<double> sum(points.size(), 0.0), weight(points.size(), 0.0);
  const auto pass = [&](auto&& index) {
    double running_sum = 0, running_weight = 0;
    for (std::size_t k = 0; k < points.size(); ++k) {
      const std::size_t i = index(k);
      const bool counts = std::isfinite(points[i].loss);
      running_sum = keep * running_sum + (counts ? points[i].loss : 0.0);
      running_weight = keep * running_weight + (counts ? 1.0 : 0.0);
      sum[i] += running_sum;
      weight[i] += running_weight;
    }
  };
  pass([](std::size_t k) { return k; });
  pass([&](std::size_t k) { return points.size() - 1 - k; });
  for (std::size_t i = 0; i < points.size(); ++i) {
    const bool counts = std::isfinite(points[i].loss);  // the point itself is in both sums
    sum[i] = (sum[i] - (counts ? points[i].loss : 0.0)) / (weight[i] - (counts ? 1.0 : 0.0));
  }
  return sum;
}

std::string training_section(const ReportData& data) {
  const std::string loss = loss_plot(data), levels = by_level_plot(data);
  if (loss.empty() && levels.empty() && data.previews.empty()) return "";
  std::string html = "<section>\n" + heading("training", "Training");
  const auto failed = std::count_if(data.training.begin(), data.training.end(),
                                    [](const ReportTrainingPoint& point) { return !std::isfinite(point.loss); });
  if (failed > 0)
    html += concat("<p class=\"notice\">", failed, " of ", data.training.size(),
                   " logged losses are not finite and are not drawn.</p>\n");
  html += loss;
  const std::string rate = small_plot(data, "learning rate", &ReportTrainingPoint::learning_rate, false);
  const std::string norm = small_plot(data, "gradient norm", &ReportTrainingPoint::grad_norm, true);
  if (!rate.empty() || !norm.empty()) html += concat("<div class=\"pair\">\n", rate, norm, "</div>\n");
  html += levels;
  if (!data.previews.empty()) {
    html += "<h3>What the network drew while it learned</h3>\n";
    if (data.preview_count > data.previews.size())
      html += concat("<p>", data.previews.size(), " of the ", data.preview_count, " previews, evenly spread.</p>\n");
    html += stepper(data.previews, "previews", "Preview during training");
  }
  return html + "</section>\n";
}

}  // namespace thaw::report
