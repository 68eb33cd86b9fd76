#include <cmath>

#include "core/base/text.h"
#include "core/io/bytes.h"
#include "experiments/report_html.h"
#include "experiments/report_parts.h"
#include "experiments/report_plots.h"

namespace thaw::report {

namespace {

std::vector<double> numbers_of(const Json& values, const std::string& where) {
  if (!values.is_array() || values.size() > kMaxListed)
    fail(where, concat("expected a list of at most ", kMaxListed, " numbers."));
  std::vector<double> numbers;
  for (const Json& value : values) {
    if (!value.is_number()) fail(where, concat("expected numbers, found ", value.type_name(), "."));
    numbers.push_back(value.get<double>());
  }
  return numbers;
}

std::string plot_of(const ReportDistribution& distribution) {
  Plot plot{concat("How often ", distribution.axis, " lies where."), {distribution.axis}, {"share"}};
  plot.width = 460;
  int index = 0;
  for (const auto& [name, shares] : distribution.series) {
    PlotSeries series{name, concat("s", index % 8 + 1), index % 4};
    ++index;
    const double bin = (distribution.high - distribution.low) / static_cast<double>(shares.size());
    for (std::size_t i = 0; i < shares.size(); ++i) {
      const double middle = distribution.low + (static_cast<double>(i) + 0.5) * bin;
      series.points.push_back({middle,
                               shares[i],
                               {},
                               {},
                               concat(distribution.axis, " ", number(middle), "\n", name, " ", number(shares[i]))});
    }
    plot.series.push_back(std::move(series));
  }
  return render_plot(plot);
}

}  // namespace

std::vector<ReportDistribution> load_distributions(const Json& distributions, const std::string& where) {
  std::vector<ReportDistribution> result;
  for (const auto& [figure, entry] : distributions.items()) {
    const std::string at = concat(where, ".", printable(figure));
    if (!entry.is_object()) fail(at, concat("expected an object, found ", entry.type_name(), "."));
    ReportDistribution distribution{figure, find_text(entry, "axis", at), get_number(entry, "low", at),
                                    get_number(entry, "high", at)};
    if (!(distribution.low < distribution.high) || !std::isfinite(distribution.high - distribution.low))
      fail(at, "expected finite low < high.");
    for (const auto& [name, shares] : entry.items())
      if (name != "axis" && name != "low" && name != "high")
        distribution.series.emplace_back(name, numbers_of(shares, concat(at, ".", printable(name))));
    result.push_back(std::move(distribution));
  }
  return result;
}

std::string distribution_plots(const std::vector<ReportDistribution>& distributions) {
  std::string plots;
  for (const ReportDistribution& distribution : distributions) plots += plot_of(distribution);
  return plots.empty() ? "" : concat("<h3>Distributions</h3>\n<div class=\"pair\">\n", plots, "</div>\n");
}

}  // namespace thaw::report
