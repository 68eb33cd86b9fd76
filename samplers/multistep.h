#pragma once
// What multistep solvers share: the order of each step and the weights of interpolating polynomials.

#include <span>
#include <vector>

#include "core/base/config.h"
#include "core/math/grid.h"
#include "core/math/plan_builder.h"

namespace thaw {

/// Whether the last steps fall to order 2 and 1 on a grid that does not end clean.
enum class LowerOrderFinal {
  kNever,
  kAuto,    // with fewer than 15 steps (diffusers' DPM-Solver and DEIS)
  kAlways,  // UniPC and SA-Solver
};

/// How many predictions a step may use.
///
/// The step into the clean level has order 1: polynomials in lambda have no weights there, and those in rho amplify
/// rounding (LMS 4 at 1000 steps: weights of 17 on slopes that differ by 1e-4).
struct OrderRule {
  int order = 1;
  LowerOrderFinal lower_final = LowerOrderFinal::kNever;
  bool has_euler_at_final = false;      // the last step has order 1, clean or not
  bool repeats_last_level = false;      // one further step, of no length, counts at the end
  bool keeps_order_into_clean = false;  // only for polynomials in rho

  /// Order of step i when the history is long enough.
  int at(const Grid& grid, std::size_t i) const;
  /// Predictions a corrector of level i may use when it wants `wanted`, its own included.
  int corrector_at(const Grid& grid, std::size_t i, int wanted) const;
};

/// Options lower_order_final, euler_at_final and repeats_last_level after `own`; read_order_rule reads them.
std::vector<Option> with_order_options(std::vector<Option> own);
OrderRule read_order_rule(const Settings& settings, int order);

/// The option `order` from 1 to `highest`.
Option order_option(int fallback, int highest);
/// The option `final_order` of solvers in rho.
Option final_order_option(const char* fallback);
OrderRule read_rho_order_rule(const Settings& settings, int order);

/// The option `solver_type` of solvers whose second order has two forms.
Option solver_type_option(const char* fallback);

/// w_j with sum_j w_j f(z_j) = integral of f for polynomials below the number of nodes.
///
/// nodes    z_j, all different
/// moments  integral of z^k, k = 0 .. nodes.size() - 1
std::vector<double> interpolation_weights(std::span<const double> nodes, std::span<const double> moments);

}  // namespace thaw
