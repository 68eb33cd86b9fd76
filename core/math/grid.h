#pragma once
// The levels a sampler visits.

#include <cstddef>
#include <functional>
#include <vector>

#include "core/base/registry.h"
#include "core/math/level.h"
#include "core/math/path.h"
#include "core/math/schedule.h"

namespace thaw {

/// Levels from the noisiest down, with the geometry between them. N steps are N intervals, N + 1 levels.
///
/// With `final: clean` the last level is {1, 0}, reached from the N-th noisy level without evaluating a network at
/// it; with `final: sigma_min` the N + 1 levels are spaced down to the schedule's t_min; with `final: then_sigma_min`
/// the N noisy levels of `clean` are followed by t_min instead of the clean level.
struct Grid {
  std::vector<Level> levels;
  std::vector<double> times;   // the schedule's t of each level; the clean one has 0, or -1 on a discrete schedule
  const Path* path = nullptr;  // a constant of core/math/path.h
  /// The level at any time of the schedule; empty where that is not discrete, and for grids of given levels.
  std::function<Level(double time)> at_time{};

  std::size_t size() const { return levels.size(); }
  std::size_t steps() const { return levels.size() - 1; }
  const Level& operator[](std::size_t i) const { return levels[i]; }
  const Level& front() const { return levels.front(); }
  const Level& back() const { return levels.back(); }
  /// The level at lambda on the grid's path, for solvers that evaluate between grid levels.
  Level at_lambda(double lambda) const { return path->at(lambda); }
};

/// Grid of given levels, for tests and published level lists; times are -lambda.
Grid make_grid(const Path& path, std::vector<Level> levels);

/// Throws ConfigError unless the grid has a path, at least two levels, finite levels, strictly growing lambda, and
/// no clean level before the last.
void expect_grid(const Grid& grid);

using GridRegistry = Registry<Grid, const Schedule&>;

/// Adds every grid of core/math/list.def. All read `steps` and `final`; one whose list is a required option has the
/// number of steps of its list.
void register_grids(GridRegistry& registry);

}  // namespace thaw
