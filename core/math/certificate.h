#pragma once
// The certificate of a solver: what it claims, what was measured, and where the two differ.

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/math/plan_probes.h"

namespace thaw {

/// The lowest slope is negative: the error grows with the steps on some problem.
inline constexpr double kDiverges = -std::numeric_limits<double>::infinity();

/// What the literature says of a solver with the options at hand, and what its entry owns up to.
struct Claims {
  int order = 0;  // of the solution; of the variance where noise is drawn. 0: none claimed
  int evaluations_per_step = 1;
  int extra_evaluations = 0;      // once a run
  bool breaks_marginals = false;  // a point mass is not kept
  bool is_path_bound = false;     // its definition depends on how signal and noise share a level
  bool has_own_levels = false;    // of the grid only the ends: exactness and given predictions say nothing
  double owned_order = 0.0;       // the lowest slope, where the entry says that it is not `order`; may be kDiverges
  std::string reason{};           // of what it owns up to
};

/// A contradiction between literature and measurement that the entry owns up to.
struct Finding {
  std::string property;  // "order", "point mass"
  std::string claimed, measured;
  std::string because;
};

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

/// Slopes further than this from the order are not of that order.
inline constexpr double kSlopeBand = 0.15;

/// Least-squares slopes of the error over three doublings of the steps, 128 -> 1024, whatever the solver, the problem
/// and the claim; kNotMeasured where that says nothing: the solver refuses the grid, an error is rounding, or more than
/// two of the five spreads are left out.
struct MeasuredOrder {
  double karras = kNotMeasured;          // Gaussian data, rms over five spreads
  double uniform_lambda = kNotMeasured;  // the same on another grid
  double line_mixture = kNotMeasured;    // against the exact quantile map; nothing drawn
  double plane_mixture = kNotMeasured;   // two dimensions; nothing drawn
  double prescribed = kNotMeasured;      // predictions given as a function of the level; nothing drawn
  double strong = kNotMeasured;          // on one Brownian path, noise drawn
  int left_out = 0;                      // data spreads whose error changes sign within the window, over both grids
  int silent = 0;                        // of the first four slopes, those that say nothing on some path

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

/// A learned variance held at one v: -1 is its lower end, 1 its upper one.
struct LearnedVariance {
  double v = 0.0;
  std::array<double, 3> variance{};  // as Certificate::variance
  double point_mass = 0.0;           // as Certificate::point_mass, on the variance-exploding path
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
  std::vector<LearnedVariance> learned{};                                    // of -1, 0, 1; empty: nothing is learned
  std::array<double, 2> stability{kNotMeasured, kNotMeasured};               // 6 and 10 steps
  double amplification = kNotMeasured;
  double float32 = kNotMeasured;  // of 100 steps

  std::vector<std::string> failures{};  // measurement against claim, one sentence each
  std::vector<Finding> findings{};      // the same where the entry owns up to it
  std::vector<std::string> refusals{};  // grids the solver does not run on, in its own words
  bool has_exactness() const { return !is_stochastic && !is_inversion && !claims.has_own_levels; }
  bool passes() const { return failures.empty(); }
};

/// Measures and judges. Fails where
/// - evaluations are not those claimed (the last two steps may have fewer stages),
/// - a point mass is moved by more than 1e-9 without the claim, or kept in spite of it,
/// - normal forms differ by more than 1e-9 between paths without the claim, or agree in spite of it,
/// - the lowest measured slope is more than kSlopeBand from the order claimed, or from the one owned up to,
/// - an order is owned up to and the one claimed is measured,
/// - degree of exactness + 1 and the order on prescribed predictions are both below that order.
/// Findings are what the entry owns up to: another order, and a point mass that is moved by a solver which is the same
/// on every path. A learned variance counts at its lower end, and its middle must lie between its ends. A solver's
/// ConfigError becomes a refusal, and a failure where it leaves nothing to measure.
Certificate certify(const PlanMaker& solver, const Claims& claims);

}  // namespace thaw
