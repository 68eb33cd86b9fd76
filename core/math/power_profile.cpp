#include "core/math/power_profile.h"

#include <algorithm>
#include <cmath>

#include <Eigen/Dense>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

// Integral of the product of two profiles, over both times: tau to the power gamma_a + gamma_b up to the earlier read.
double product(const PowerProfile& a, const PowerProfile& b) {
  const double earlier = std::min(a.time, b.time);
  return (a.gamma + 1) * (b.gamma + 1) / (a.gamma + b.gamma + 1) * std::pow(earlier / a.time, a.gamma) *
         std::pow(earlier / b.time, b.gamma) * earlier / (a.time * b.time);
}

}  // namespace

double power_std(double gamma) {
  return std::sqrt((gamma + 1) / ((gamma + 2) * (gamma + 2) * (gamma + 3)));
}

double power_gamma(double std) {
  constexpr double kLargest = 0.28867513459481288;  // of gamma 0, the plain mean: 1 / sqrt 12
  if (!(std > 0.0 && std <= kLargest + 1e-12))
    throw ConfigError(concat("std of a power-function average: must lie in (0, 0.2886], got ", format_short(std), "."));
  double low = 0.0, high = 1.0;
  while (power_std(high) > std) high *= 2;
  for (int i = 0; i < 200; ++i) {
    const double middle = 0.5 * (low + high);
    (power_std(middle) > std ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

double power_decay(double gamma, double t) {
  return std::pow(1.0 - 1.0 / t, gamma + 1);
}

Reconstruction reconstruct(std::span<const PowerProfile> stored, const PowerProfile& wanted) {
  const auto n = static_cast<Eigen::Index>(stored.size());
  if (n == 0) throw Error(ExitCode::kBug, "reconstruction of an average from none");
  Eigen::MatrixXd a(n, n);
  Eigen::VectorXd b(n);
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j < n; ++j)
      a(i, j) = product(stored[static_cast<std::size_t>(i)], stored[static_cast<std::size_t>(j)]);
    b(i) = product(stored[static_cast<std::size_t>(i)], wanted);
  }
  // Neighbouring profiles are nearly parallel: the decomposition that tells rank leaves out what is not told apart.
  const Eigen::VectorXd x = a.completeOrthogonalDecomposition().solve(b);
  const double whole = product(wanted, wanted);
  const double left = std::max(0.0, whole - 2 * x.dot(b) + x.dot(a * x));
  return {{x.begin(), x.end()}, std::sqrt(left / whole)};
}

}  // namespace thaw
