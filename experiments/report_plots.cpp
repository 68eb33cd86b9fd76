#include "experiments/report_plots.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include <nlohmann/json.hpp>

#include "core/base/text.h"
#include "experiments/report_html.h"

namespace thaw::report {

namespace {

constexpr double kLeft = 54, kRight = 14, kTop = 30, kBottom = 46;  // px around the plotted area

/// Data to pixels on one axis.
struct Scale {
  double low = 0, high = 1;  // of the data, or of its log10
  double from = 0, to = 1;   // px
  bool is_log = false;

  double operator()(double value) const {
    const double v = is_log ? std::log10(value) : value;
    return from + (v - low) / (high - low) * (to - from);
  }
};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool is_empty() const { return !(low <= high); }
};

std::string px(double value) {
  std::array<char, 32> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.1f", value);
  return buffer.data();
}

bool is_drawable(const PlotPoint& point) {
  return std::isfinite(point.x) && std::isfinite(point.y);
}

Scale make_scale(const Range& range, bool wants_log, double pad, double from, double to) {
  Scale scale{range.low, range.high, from, to, wants_log && range.low > 0};
  if (scale.is_log) {
    scale.low = std::log10(range.low);
    scale.high = std::log10(range.high);
  }
  double margin = (scale.high - scale.low) * pad;
  if (!(scale.high - scale.low > 1e-12 * std::max(std::abs(scale.high), 1e-300)))
    margin = scale.is_log ? 0.1 : std::max(0.1 * std::abs(scale.high), 1e-6);
  scale.low -= margin;
  scale.high += margin;
  return scale;
}

std::vector<double> ticks_of(const Scale& scale, const PlotAxis& axis, int count) {
  if (!axis.ticks.empty()) return axis.ticks;
  const double low = scale.is_log ? std::pow(10, scale.low) : scale.low;
  const double high = scale.is_log ? std::pow(10, scale.high) : scale.high;
  return round_ticks(low, high, count, scale.is_log);
}

std::string draw_axes(const Plot& plot, const Scale& x, const Scale& y) {
  std::string svg = "<g class=\"axes\">";
  const double base = plot.height - kBottom;
  for (const double tick : ticks_of(y, plot.y, 5)) {
    const std::string at = px(y(tick));
    svg += concat("<line class=\"rule\" x1=\"", px(kLeft), "\" x2=\"", px(plot.width - kRight), "\" y1=\"", at,
                  "\" y2=\"", at, "\"/><text x=\"", px(kLeft - 8), "\" y=\"", px(y(tick) + 4),
                  "\" text-anchor=\"end\">", number(tick), "</text>");
  }
  double last = -1e9;
  for (const double tick : ticks_of(x, plot.x, 7)) {
    const double at = x(tick);
    if (at - last < 22) continue;  // two labels would run into each other
    last = at;
    svg += concat("<line class=\"tick\" x1=\"", px(at), "\" x2=\"", px(at), "\" y1=\"", px(base), "\" y2=\"",
                  px(base + 5), "\"/><text x=\"", px(at), "\" y=\"", px(base + 19), "\" text-anchor=\"middle\">",
                  number(tick), "</text>");
  }
  svg += concat("<line class=\"base\" x1=\"", px(kLeft), "\" x2=\"", px(plot.width - kRight), "\" y1=\"", px(base),
                "\" y2=\"", px(base), "\"/>");
  svg += concat("<text class=\"name\" x=\"0\" y=\"14\">", escape(plot.y.label), "</text><text class=\"name\" x=\"",
                px(plot.width - kRight), "\" y=\"", px(plot.height - 8), "\" text-anchor=\"end\">",
                escape(plot.x.label), "</text></g>");
  return svg;
}

std::string marker_shape(int marker, double x, double y) {
  switch (marker % 4) {
    case 0:
      return concat("<circle cx=\"", px(x), "\" cy=\"", px(y), "\" r=\"3.6\"/>");
    case 1:
      return concat("<rect x=\"", px(x - 3.3), "\" y=\"", px(y - 3.3), "\" width=\"6.6\" height=\"6.6\"/>");
    case 2:
      return concat("<path d=\"M", px(x), " ", px(y - 4.6), "L", px(x + 4.3), " ", px(y + 3.4), "L", px(x - 4.3), " ",
                    px(y + 3.4), "Z\"/>");
    default:
      return concat("<path d=\"M", px(x), " ", px(y - 4.8), "L", px(x + 4.8), " ", px(y), "L", px(x), " ", px(y + 4.8),
                    "L", px(x - 4.8), " ", px(y), "Z\"/>");
  }
}

/// `shift` moves markers and intervals sideways, so that those of several series at one x stay apart.
std::string draw_series(const PlotSeries& series, const Scale& x, const Scale& y, double shift) {
  std::string line, marks;
  nlohmann::json read_out = nlohmann::json::array();
  for (const PlotPoint& point : series.points) {
    if (!is_drawable(point)) continue;
    const double at_x = x(point.x) + shift, at_y = y(point.y);
    line += concat(line.empty() ? "M" : "L", px(at_x), " ", px(at_y));
    if (point.low && point.high && std::isfinite(y(*point.low)) && std::isfinite(y(*point.high)))
      marks += concat("<line class=\"interval\" x1=\"", px(at_x), "\" x2=\"", px(at_x), "\" y1=\"", px(y(*point.low)),
                      "\" y2=\"", px(y(*point.high)), "\"/>");
    if (series.marker >= 0) marks += marker_shape(series.marker, at_x, at_y);
    if (!point.label.empty()) read_out.push_back({std::round(at_x * 10) / 10, std::round(at_y * 10) / 10, point.label});
  }
  std::string svg = concat("<g class=\"series ", series.style, "\"");
  if (!read_out.empty())
    svg += concat(" data-points=\"", escape(read_out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)),
                  "\"");
  svg += ">";
  if (series.has_line && !line.empty()) svg += concat("<path class=\"line\" d=\"", line, "\"/>");
  if (!marks.empty()) svg += concat("<g class=\"marks\">", marks, "</g>");
  return svg + "</g>";
}

std::string draw_legend(const Plot& plot) {
  std::string html;
  for (const PlotSeries& series : plot.series) {
    if (series.name.empty()) continue;
    html += concat("<li><svg class=\"key\" width=\"26\" height=\"12\" aria-hidden=\"true\"><g class=\"series ",
                   series.style, "\">", series.has_line ? "<path class=\"line\" d=\"M1 6L25 6\"/>" : "",
                   "<g class=\"marks\">", series.marker >= 0 ? marker_shape(series.marker, 13, 6) : "",
                   "</g></g></svg>", escape(series.name), "</li>");
  }
  return html.empty() ? "" : concat("<ul class=\"legend\">", html, "</ul>");
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count, bool is_log) {
  std::vector<double> ticks;
  if (!(low < high) || !std::isfinite(low) || !std::isfinite(high)) return ticks;
  if (is_log && low > 0) {
    const double decades = std::log10(high / low);
    std::vector<double> mantissas{1, 2, 5};
    if (decades > 2.2) mantissas = {1, 3};
    if (decades > count) mantissas = {1};
    const int stride = std::max(1, static_cast<int>(std::ceil(decades / count)));
    for (int power = static_cast<int>(std::floor(std::log10(low))); power <= std::ceil(std::log10(high)); ++power)
      for (const double mantissa : mantissas) {
        const double tick = mantissa * std::pow(10.0, power);
        if (tick >= low && tick <= high && (stride == 1 || power % stride == 0)) ticks.push_back(tick);
      }
    if (ticks.size() >= 3) return ticks;
    ticks.clear();  // less than a decade: evenly spaced values say more
  }
  const double raw = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double lead = raw / power;
  const double step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
  const double first = std::ceil(low / step - 1e-9);
  for (int i = 0; i < 4 * count && (first + i) * step <= high + 1e-9 * step; ++i) {
    const double tick = (first + i) * step;
    ticks.push_back(std::abs(tick) < 1e-9 * step ? 0.0 : std::stod(format_short(tick, 10)));
  }
  return ticks;
}

std::string render_plot(const Plot& plot) {
  Range range_x, range_y;
  for (const PlotSeries& series : plot.series)
    for (const PlotPoint& point : series.points) {
      if (!is_drawable(point)) continue;
      range_x.add(point.x);
      range_y.add(point.y);
      if (point.low) range_y.add(*point.low);
      if (point.high) range_y.add(*point.high);
    }
  if (range_x.is_empty() || range_y.is_empty()) return "";
  const bool is_scatter = !plot.reads_by_x;
  const Scale x = make_scale(range_x, plot.x.is_log, is_scatter ? 0.06 : 0.0, kLeft, plot.width - kRight);
  const Scale y = make_scale(range_y, plot.y.is_log, 0.06, plot.height - kBottom, kTop);

  std::string html =
      concat("<figure class=\"plot", plot.width > 600 ? " full" : "", "\">", draw_legend(plot),
             "<div class=\"canvas\"><svg viewBox=\"0 0 ", plot.width, " ", plot.height, "\" width=\"", plot.width,
             "\" height=\"", plot.height, "\" role=\"img\" tabindex=\"0\" data-plot=\"", plot.reads_by_x ? "x" : "xy",
             "\" aria-label=\"", escape(plot.description), "\">", draw_axes(plot, x, y));
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    const double middle = (static_cast<double>(plot.series.size()) - 1) / 2;
    html += draw_series(plot.series[i], x, y, is_scatter ? (static_cast<double>(i) - middle) * 3 : 0);
  }
  return html + "<g class=\"cursor\" visibility=\"hidden\"><line y1=\"" + px(kTop) + "\" y2=\"" +
         px(plot.height - kBottom) +
         "\"/><circle r=\"4.5\"/></g></svg><p class=\"readout\" role=\"status\" hidden></p></div></figure>\n";
}

}  // namespace thaw::report
