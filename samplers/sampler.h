#pragma once
// Solvers as pure functions from a grid to a plan. One file a solver; samplers/list.def names them.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "core/base/registry.h"
#include "core/math/grid.h"
#include "core/math/machine.h"
#include "core/math/plan.h"

namespace thaw {

/// A function from a grid to a plan, or, where steps depend on what the network answers, a method on a machine.
///
/// Pure: the same grid gives the same plan. Throws ConfigError with the reason when it cannot run on the grid.
class Solver {
 public:
  using Method = std::function<Reg(Machine& machine, const Grid& grid, Reg x)>;
  /// The most evaluations a run on this grid may take; nothing where there is no limit.
  using Limit = std::function<std::optional<std::int64_t>(const Grid&)>;

  Solver() = default;
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, Solver> && std::is_invocable_r_v<Plan, F&, const Grid&>)
      Solver(F plan)
      : plan_(std::move(plan)) {}  // NOLINT: a function from a grid to a plan is a solver

  /// `name` is for messages. Without a limit the solver fits no budget of evaluations.
  static Solver adaptive(std::string name, Method method, Limit limit = {});

  bool is_adaptive() const { return method_ != nullptr; }

  /// Throws ConfigError for an adaptive one: it has no plan.
  Plan operator()(const Grid& grid) const;
  /// Of an adaptive one, bound to a grid (checked: ConfigError). The solver and the grid are copied.
  MachineMethod method(const Grid& grid) const;

  /// Evaluations of the plan, or the limit of an adaptive one.
  std::optional<std::int64_t> most_evaluations(const Grid& grid) const;
  const std::string& name() const { return name_; }

 private:
  std::function<Plan(const Grid&)> plan_{};
  std::string name_{};
  Method method_{};
  Limit limit_{};
};

using SamplerRegistry = Registry<Solver>;

/// Traits an entry may have; tests and certificates hold it to them:
///   "evaluations_per_step=2", "extra_evaluations=1"   network calls a step, and once a run
///   "order=2"             as the literature has it: of the solution; of the variance where noise is drawn
///   "measured_order=1.4"  what the entry owns up to where that is another; the summary says why
///   "stochastic"          draws noise with some option values
///   "refuses_alpha_zero"  cannot start from a level without signal
///   "needs_timesteps"     asks for levels at times of a discrete schedule
///   "own_levels"          visits levels of its own, of the grid's only the ends
///   "breaks_marginals"    a point mass is not kept
///   "path_bound"          depends on how signal and noise share a level
///   "inverts"             runs the grid from its last level back to its first
///   "adaptive"            chooses its own steps
///   "compat"              reproduces a published implementation's fault
void register_samplers(SamplerRegistry& registry);

/// The number after "key=" among the traits, or `fallback`.
double trait_number(const EntryInfo& info, const std::string& key, double fallback);
int trait_value(const EntryInfo& info, const std::string& key, int fallback);

using GridFactory = std::function<Grid(int steps)>;

/// Steps of the largest plan that calls the network at most `evaluations` times; nothing when one step already asks
/// for more. A grid may refuse numbers of steps (a discrete schedule has only so many, a list its own). Throws
/// ConfigError for an adaptive solver without a limit, and where the grid refuses every number.
std::optional<int> steps_within(const Solver& solver, const GridFactory& grid, int evaluations);

}  // namespace thaw
