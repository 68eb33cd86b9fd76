#pragma once
// Line plots as inline SVG, coloured by the page's style sheet and read out by its script.

#include <optional>
#include <string>
#include <vector>

namespace thaw::report {

struct PlotPoint {
  double x = 0, y = 0;
  std::optional<double> low{}, high{};  // ends of an interval
  std::string label{};                  // what the read-out says, lines separated by \n; empty: not read out
};

struct PlotSeries {
  std::string name;   // in the legend; empty: not listed
  std::string style;  // CSS classes of its colour: "s1" ... "s8", "faint"
  int marker = -1;    // shape 0 to 3 at every point; -1: a line alone
  bool has_line = true;
  std::vector<PlotPoint> points{};
};

struct PlotAxis {
  std::string label;
  bool is_log = false;          // falls back to linear when a value is not positive
  std::vector<double> ticks{};  // empty: chosen
};

struct Plot {
  std::string description;  // for readers who do not see it
  PlotAxis x, y;
  std::vector<PlotSeries> series{};
  int width = 820, height = 300;
  bool reads_by_x = true;  // the read-out follows the pointer's x alone, else the nearest point
};

/// A figure element; empty when no point is finite.
std::string render_plot(const Plot& plot);

/// Round values inside [low, high], about `count` of them.
std::vector<double> round_ticks(double low, double high, int count, bool is_log);

}  // namespace thaw::report
