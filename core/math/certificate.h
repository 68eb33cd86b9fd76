#pragma once
// The certificate of a solver: what it claims, what was measured, and where the two differ.

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/math/plan_probes.h"

namespace thaw {

/// What an entry says of its solver with the options at hand.
struct Claims {
  int order = 0;  // of the solution; of the variance where noise is drawn. 0: none claimed
  int evaluations_per_step = 1;
  int extra_evaluations = 0;      // once a run
  bool breaks_marginals = false;  // a point mass is not kept
  bool is_path_bound = false;     // its definition depends on how signal and noise share a level
};

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

/// Least-squares slopes of the error over three doublings of the steps, from 64 to 2048 (noise drawn: from 128);
/// kNotMeasured where it says nothing.
struct MeasuredOrder {
  double karras = kNotMeasured;          // Gaussian data, rms over five spreads
  double uniform_lambda = kNotMeasured;  // the same on another grid
  double line_mixture = kNotMeasured;    // against the exact quantile map; nothing drawn
  double plane_mixture = kNotMeasured;   // two dimensions; nothing drawn
  double prescribed = kNotMeasured;      // predictions given as a function of the level; nothing drawn
  double strong = kNotMeasured;          // on one Brownian path, noise drawn

  /// The lowest of the first four: the order is what holds on the worst problem.
  double lowest() const;
};

/// At most `budget` evaluations on a Karras grid.
struct BudgetError {
  int budget = 0;
  int steps = 0;                 // 0: one step already asks for more
  double spread = kNotMeasured;  // rms relative error of the standard deviation over five data spreads
  double w2 = kNotMeasured;      // of a 16-dimensional Gaussian, relative
};

struct Certificate {
  Claims claims{};
  bool is_stochastic = false;
  bool is_inversion = false;
  std::int64_t evaluations = 0;        // of 20 steps that end noisy
  std::int64_t evaluations_clean = 0;  // of 20 steps that end clean
  std::uint32_t registers = 0;         // state-sized tensors of 20 steps, input included
  int bodies = 0;                      // different steps on the way to clean
  double point_mass = kNotMeasured;    // worst over three paths and three grids
  double path_gap = kNotMeasured;      // largest relative difference of normal forms between three paths
  Exactness exactness{};               // of solvers that draw nothing
  MeasuredOrder order{};
  std::vector<BudgetError> budgets{};                                        // 5, 10, 20, 50
  std::array<double, 3> variance{kNotMeasured, kNotMeasured, kNotMeasured};  // signed, N(0, 0.25), 10, 50, 250 steps
  std::array<double, 2> stability{kNotMeasured, kNotMeasured};               // 6 and 10 steps
  double amplification = kNotMeasured;
  double float32 = kNotMeasured;  // of 100 steps

  std::vector<std::string> failures{};  // measurement against claim, one sentence each
  std::vector<std::string> refusals{};  // grids the solver does not run on, in its own words
  bool has_exactness() const { return !is_stochastic && !is_inversion; }
  bool passes() const { return failures.empty(); }
};

/// Measures and judges. Fails where
/// - evaluations are not those claimed (the last two steps may have fewer stages),
/// - a point mass is moved by more than 1e-9 without the claim, or kept in spite of it,
/// - normal forms differ by more than 1e-9 between paths without the claim, or agree in spite of it,
/// - the lowest measured slope is more than 0.25 from the order claimed, or a single one is more than 0.25 below it,
/// - degree of exactness + 1 and the order on prescribed predictions are both below the claim.
/// A learned variance counts at its lower end. A solver's ConfigError becomes a refusal, and a failure where it leaves
/// nothing to measure.
Certificate certify(const PlanMaker& solver, const Claims& claims);

}  // namespace thaw
