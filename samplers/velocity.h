#pragma once
// Runge-Kutta in the time that a path itself counts: t of a flow, the angle of a variance-preserving level, sigma.

#include <vector>

#include "core/base/config.h"
#include "core/math/plan_builder.h"

namespace thaw {

/// Explicit Runge-Kutta: stage k at share nodes[k] of the step, its state from the slope of stage k - 1 alone.
struct VelocityScheme {
  std::vector<double> nodes{};    // nodes[0] = 0
  std::vector<double> weights{};  // sum 1
};

/// What a step into the clean level does where a velocity at sigma = 0 would be needed.
enum class CleanRule {
  kEuler,  // one Euler step
  kLimit,  // there eps is 0 and D is x / alpha, so that v = alpha' x / alpha
};

/// dx / dT = alpha' D + sigma' eps (Lipman et al. 2023, eq. 13). Depends on the path, unlike solvers in lambda or rho.
Plan velocity_plan(const Grid& grid, const VelocityScheme& scheme, CleanRule rule);

/// The time that Path::slope differentiates by, and the level at it.
double path_time(const Path& path, const Level& level);
Level level_at_path_time(const Path& path, double time);

/// clean: euler | limit
Option clean_option();
CleanRule read_clean_rule(const Settings& settings);

}  // namespace thaw
