#pragma once
// The levels a sampler visits.

#include <cstddef>
#include <vector>

#include "core/base/registry.h"
#include "core/math/level.h"
#include "core/math/path.h"
#include "core/math/schedule.h"

namespace thaw {

/// Levels from the noisiest down, with the geometry between them. N steps are N intervals, N + 1 levels.
///
/// With `final: clean` the last level is {1, 0}, reached from the N-th noisy level without evaluating a network at
/// it; with `final: sigma_min` the last level is the schedule's t_min.
struct Grid {
  std::vector<Level> levels;
  std::vector<double> times;   // the schedule's t of each level; the clean one has 0, or -1 on a discrete schedule
  const Path* path = nullptr;  // a constant of core/math/path.h

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

/// Adds trailing, leading, linspace, karras and uniform_lambda. All read `steps` and `final`.
void register_grids(GridRegistry& registry);

}  // namespace thaw
