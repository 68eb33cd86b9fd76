#pragma once
// What the files that register grids share; only core/math/grids*.cpp include it.

#include <vector>

#include "core/math/grid.h"

namespace thaw::grids {

enum class End { kClean, kSigmaMin, kThenSigmaMin };

/// The options every grid has.
struct Ask {
  int steps = 0;
  End end = End::kClean;
  /// Levels that a spacing has to place; what follows them is the end's.
  int points() const { return end == End::kSigmaMin ? steps + 1 : steps; }
};

/// `own` behind `steps` and `final`.
std::vector<Option> options_with(std::vector<Option> own = {});
/// `steps`, `final`, `drop_last` and `own`.
std::vector<Option> options_with_drop(std::vector<Option> own = {});
Ask read_ask(const Settings& settings);
/// `drop_last`; refused with `final: sigma_min`, whose last point is the end itself.
bool read_drop(const Settings& settings, const Ask& ask);

/// `points` numbers from first to last, both included; with drops_last one more is spaced and the last left out.
std::vector<double> spaced(double first, double last, int points, bool drops_last = false);

/// Noisy levels with their times, closed as asked. Throws ConfigError where two levels in a row do not fall in noise.
Grid close(const Settings& settings, const Schedule& schedule, std::vector<Level> levels, std::vector<double> times,
           const Ask& ask);
Grid at_times(const Settings& settings, const Schedule& schedule, std::vector<double> times, const Ask& ask);
/// Levels on the schedule's path, also where the schedule itself does not reach.
Grid at_levels(const Settings& settings, const Schedule& schedule, const std::vector<Level>& levels, const Ask& ask);
Grid at_lambdas(const Settings& settings, const Schedule& schedule, const std::vector<double>& lambdas, const Ask& ask);

/// Timesteps that a table has after its cut.
double usable_timesteps(const Schedule& schedule);
void expect_table_has(const Settings& settings, const Schedule& schedule, int points);
/// Lin et al. 2023, table 2, on a table: round(T, T - T / N, ...) - 1. Fewer than `steps` where the table is cut.
std::vector<double> trailing_timesteps(const Schedule& schedule, int steps);
/// (points - 1) floor(T / points) + offset down to offset, or with drops_last to the point before it.
std::vector<double> leading_timesteps(const Settings& settings, const Schedule& schedule, int points, double offset,
                                      bool drops_last = false);

/// The schedule's own end of a range; refused where it has no signal and the range needs some.
double own_end(const Settings& settings, const Schedule& schedule, const char* option, double own);

}  // namespace thaw::grids
