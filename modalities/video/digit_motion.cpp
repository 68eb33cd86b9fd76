#include "modalities/video/digit_motion.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace thaw::video {

namespace {

constexpr double kAtEdge = 1.5;    // pixels
constexpr double kCameBack = 1.5;  // pixels
constexpr double kHeld = 0.75;     // pixels, of an extreme held over frames
constexpr std::size_t kLeastFrames = 5;
constexpr std::size_t kWindow = 3;  // frames between the ends of which a velocity is taken: whole pixels blur it less

/// One axis of a trajectory, frames without a digit left out.
struct Line {
  std::vector<std::size_t> frames{};
  std::vector<double> places{};
};

Line line_of(const Trajectory& places, std::size_t axis) {
  Line line;
  for (std::size_t t = 0; t < places.size(); ++t)
    if (!std::isnan(places[t][axis])) {
      line.frames.push_back(t);
      line.places.push_back(places[t][axis]);
    }
  return line;
}

double step_of(const Line& line, std::size_t i) {
  return (line.places[i + 1] - line.places[i]) / static_cast<double>(line.frames[i + 1] - line.frames[i]);
}

/// A change of direction: the first and the last index into the line at which the extreme is held.
struct Extreme {
  std::size_t first = 0, last = 0;
};

/// For each step whether it is a jump.
std::vector<bool> jumps_of(const Line& across, const Line& down, double speed) {
  std::vector<bool> jumps;
  for (std::size_t i = 0; i + 1 < across.places.size(); ++i)
    jumps.push_back(std::hypot(step_of(across, i), step_of(down, i)) > 1.5 * speed + 0.75);
  return jumps;
}

/// Where the path without its jumps comes back from.
std::vector<Extreme> extremes_of(const Line& line, const std::vector<bool>& jumps) {
  std::vector<double> path{0.0};
  for (std::size_t i = 0; i < jumps.size(); ++i) path.push_back(path.back() + (jumps[i] ? 0.0 : step_of(line, i)));
  std::vector<Extreme> extremes;
  const auto add = [&](std::size_t last) {
    std::size_t first = last;
    while (first > 0 && std::abs(path[first - 1] - path[last]) < kHeld) --first;
    extremes.push_back({first, last});
  };
  std::size_t highest = 0, lowest = 0;
  int heading = 0;  // not known until it has gone some way
  for (std::size_t i = 1; i < path.size(); ++i) {
    if (path[i] >= path[highest]) highest = i;
    if (path[i] <= path[lowest]) lowest = i;
    if (heading >= 0 && path[highest] - path[i] >= kCameBack) {
      if (heading > 0) add(highest);
      heading = -1, lowest = i;
    } else if (heading <= 0 && path[i] - path[lowest] >= kCameBack) {
      if (heading < 0) add(lowest);
      heading = 1, highest = i;
    }
  }
  return extremes;
}

bool is_at_edge(double place, double way) {
  return std::min(std::abs(place), std::abs(way - place)) <= kAtEdge;
}

/// How many places at the beginning (from rbegin: at the end) are at an edge: a turn there may be too late to be seen
/// as one.
template <class Iterator>
std::size_t count_at_edge(Iterator begin, Iterator end, double way) {
  return static_cast<std::size_t>(std::find_if(begin, end, [&](double place) { return !is_at_edge(place, way); }) -
                                  begin);
}

/// Velocities over windows that touch no turn, unfolded: constant speed between edges is one constant number. The edge
/// cuts the step into a turn short. Windows are as long as leaves any.
std::vector<double> velocities_of(const Line& line, const std::vector<Extreme>& extremes, double way) {
  std::vector<double> velocities;
  std::size_t begin = count_at_edge(line.places.begin(), line.places.end(), way);
  std::size_t end = line.places.size() - count_at_edge(line.places.rbegin(), line.places.rend(), way);
  if (begin >= end) begin = 0, end = line.places.size();  // along an edge
  for (std::size_t window = kWindow; window > 0 && velocities.empty(); --window)
    for (std::size_t i = begin; i + window < end; ++i) {
      double sign = 1.0;
      bool is_free = true;
      for (const Extreme& extreme : extremes) {
        if (extreme.last < i) sign = -sign;
        if (extreme.last >= i && extreme.first <= i + window) is_free = false;
      }
      const auto frames = static_cast<double>(line.frames[i + window] - line.frames[i]);
      if (is_free) velocities.push_back(sign * (line.places[i + window] - line.places[i]) / frames);
    }
  return velocities;
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Whether it stays at an edge for longer than its velocity takes to come there and away.
bool rests_at_edge(const Line& line, double velocity, double way) {
  std::size_t longest = 0, held = 0;
  for (const double place : line.places) {
    held = is_at_edge(place, way) ? held + 1 : 0;
    longest = std::max(longest, held);
  }
  return static_cast<double>(longest) > 2 * (kAtEdge + 0.5) / std::abs(velocity) + 3;
}

double velocity_error(const std::array<std::vector<double>, 2>& velocities, double speed) {
  if (velocities[0].empty() || velocities[1].empty()) return speed;  // it turns in every frame
  const std::array<double, 2> mean{mean_of(velocities[0]), mean_of(velocities[1])};
  const double own_speed = std::hypot(mean[0], mean[1]);
  const double scale = own_speed > 0 ? speed / own_speed : 0.0;
  std::array<double, 2> error{};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    for (const double velocity : velocities[axis]) error[axis] += std::abs(velocity - scale * mean[axis]);
    error[axis] /= static_cast<double>(velocities[axis].size());
  }
  return own_speed > 0 ? std::hypot(error[0], error[1]) : speed;
}

}  // namespace

MotionVerdict judge_motion(const Trajectory& places, const MotionRule& rule) {
  MotionVerdict verdict;
  const std::array<Line, 2> lines{line_of(places, 0), line_of(places, 1)};
  if (lines[0].places.size() < kLeastFrames) {
    verdict.velocity_error = std::nan("");
    return verdict;
  }
  const std::vector<bool> jumps = jumps_of(lines[0], lines[1], rule.speed);
  std::array<std::vector<double>, 2> velocities;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const Line& line = lines[axis];
    const std::vector<Extreme> extremes = extremes_of(line, jumps);
    for (const Extreme& extreme : extremes) {
      verdict.turns.push_back({axis, line.frames[extreme.last], line.places[extreme.last]});
      if (!is_at_edge(line.places[extreme.last], rule.way)) ++verdict.turns_elsewhere;
    }
    const auto [least, most] = std::ranges::minmax(line.places);
    verdict.edges_passed +=
        static_cast<std::size_t>(least < -kAtEdge) + static_cast<std::size_t>(most > rule.way + kAtEdge);
    velocities[axis] = velocities_of(line, extremes, rule.way);
    if (!velocities[axis].empty() && rests_at_edge(line, mean_of(velocities[axis]), rule.way))
      ++verdict.edges_rested_at;
  }
  verdict.velocity_error = velocity_error(velocities, rule.speed);
  return verdict;
}

}  // namespace thaw::video
