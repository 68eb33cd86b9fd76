#pragma once
// Solvers as pure functions from a grid to a plan. One file a solver; samplers/list.def names them.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/base/registry.h"
#include "core/math/grid.h"
#include "core/math/plan.h"

namespace thaw {

/// Pure: the same grid gives the same plan. Throws ConfigError with the reason when it cannot run on the grid.
using Solver = std::function<Plan(const Grid&)>;
using SamplerRegistry = Registry<Solver>;

/// Traits an entry may have:
///   "stochastic"            draws noise with some option values
///   "refuses_alpha_zero"    cannot start from a level without signal
///   "evaluations_per_step=2", "order=2"   claims the tests check
void register_samplers(SamplerRegistry& registry);

/// The number after "key=" among the traits, or `fallback`.
int trait_value(const EntryInfo& info, const std::string& key, int fallback);

using GridFactory = std::function<Grid(int steps)>;

/// Steps of the largest plan that calls the network at most `evaluations` times; nothing when one step already asks
/// for more. Stops below the first number of steps the grid refuses (a discrete schedule has only so many).
std::optional<int> steps_within(const Solver& solver, const GridFactory& grid, int evaluations);

}  // namespace thaw
