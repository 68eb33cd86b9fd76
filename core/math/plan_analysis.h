#pragma once
// What can be computed about a solver from its plan, exactly and without sampling.

#include <functional>
#include <span>
#include <vector>

#include "core/math/plan.h"

namespace thaw {

/// One affine row: a register as on_input x_in + sum on_data[j] D_j + sum on_noise[k] z_k.
struct Row {
  double on_input = 0.0;
  std::vector<double> on_data{};   // by evaluation, in order
  std::vector<double> on_noise{};  // by elementary draw of the tableau
};

/// Normal form of a plan on its grid: a complete invariant of the method. Rows are divided by alpha of their level
/// (y = x / alpha), so that paths compare; at alpha = 0 they are not.
struct Tableau {
  std::vector<double> lambdas{};  // of the evaluations
  std::vector<Row> inputs{};      // what each evaluation is asked about
  Row output;                     // the last element
  double noise_variance() const;  // of the output
};

/// Of one plan, with its own noise split at its own interval ends. The estimates data, raw and unguided count as one;
/// with a kVariance or kVelocity output it throws Error (kBug).
Tableau normal_form(const Plan& plan);

/// Of several plans on one noise basis, so that any two of them can be compared.
std::vector<Tableau> normal_forms(std::span<const Plan* const> plans);

/// Largest absolute difference of rows and of evaluation lambdas of two tableaus on one noise basis; +inf when the
/// numbers of evaluations differ.
double tableau_distance(const Tableau& a, const Tableau& b);

/// Largest absolute difference of rows and of evaluation lambdas, on a shared noise basis; +inf when the plans differ
/// in the number of evaluations. Two methods are the same on this grid when it is <= 1e-12.
double plan_distance(const Plan& a, const Plan& b);

/// The plan with every learned variance at the same v in [-1, 1], so that it can be analysed: -1 is the posterior
/// variance of a point, +1 that of the forward step.
Plan with_fixed_variance(Plan plan, double v);

/// Data N(mean, variance), for which the denoiser is affine and known.
struct Gaussian {
  double mean = 0.0;
  double variance = 1.0;

  /// E[x0 | x] at a level: mean + gain (x - alpha mean).
  double gain(const Level& level) const;
  double denoise(double x, const Level& level) const;
  /// Variance of x at a level: alpha^2 variance + sigma^2.
  double variance_at(const Level& level) const;
};

/// A register as an affine function of the start: mean = offset + gain E[x_in], variance = gain^2 Var[x_in] + noise.
struct Moments {
  double offset = 0.0;
  double gain = 1.0;
  double noise_variance = 0.0;

  double mean(double start_mean) const { return offset + gain * start_mean; }
  double variance(double start_variance) const { return gain * gain * start_variance + noise_variance; }
};

struct PlanMoments {
  std::vector<Moments> inputs{};  // of each evaluation
  std::vector<Moments> marks{};   // after each mark, of its register
  Moments output;
};

/// Exact first and second moments of a plan on Gaussian data with the exact denoiser.
PlanMoments gaussian_moments(const Plan& plan, const Gaussian& data);

/// Relative error of the output variance, starting from the exact marginal at the plan's first level, or from
/// `start_variance` when given.
double variance_error(const Plan& plan, const Gaussian& data, double start_variance = -1.0);

/// Root mean square difference of the outputs of two plans that share start and Brownian path, both with the exact
/// denoiser: exact, on a common noise basis.
double strong_error(const Plan& a, const Plan& b, const Gaussian& data);

/// The same of several plans against one reference, which is walked once.
std::vector<double> strong_errors(std::span<const Plan* const> plans, const Plan& reference, const Gaussian& data);

/// With all data at one point, every evaluation must be asked about exactly N(alpha, sigma^2) of its level. The worst
/// deviation of mean and standard deviation, relative to alpha + sigma of that level. A right solver gives <= 1e-9.
double point_mass_error(const Plan& plan);

/// Elementwise denoiser and noise of a plan run on host doubles (tests, goldens, analysis: not the executor).
using HostDenoiser = std::function<std::vector<double>(std::span<const double> x, const Level& level)>;
using HostNoise = std::function<std::vector<double>(const Draw& draw)>;
using HostObserver = std::function<void(const Mark& mark, std::span<const double> x)>;

/// Runs a plan whose evaluations ask for estimates alone, all of them the denoiser's. Sums in the order of the terms,
/// then of the draws.
std::vector<double> run_on_host(const Plan& plan, std::span<const double> x, const HostDenoiser& denoiser,
                                const HostNoise& noise = {}, const HostObserver& observer = {});

/// Least-squares slope of -log(error) over log(steps): the measured order.
double order_slope(std::span<const double> steps, std::span<const double> errors);

/// Root mean square over data standard deviations {0.1, 0.25, 0.5, 1, 2} of (gain / exact gain - 1).
double gain_error(const Plan& plan);

}  // namespace thaw
