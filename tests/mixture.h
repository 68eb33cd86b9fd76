#pragma once
// A one-dimensional mixture with a closed-form denoiser: nonlinear, unlike a Gaussian.

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/math/plan_analysis.h"

namespace thaw::testing {

/// The exact denoiser of 0.3 N(-1, 0.25^2) + 0.7 N(0.8, 0.4^2), element by element.
inline std::vector<double> denoise_mixture(std::span<const double> x, const Level& level) {
  constexpr double kShare[] = {0.3, 0.7};
  const Gaussian parts[] = {{-1.0, 0.0625}, {0.8, 0.16}};
  std::vector<double> result;
  for (const double value : x) {
    double total = 0.0, sum = 0.0;
    double exponents[2];
    for (int k = 0; k < 2; ++k) {
      const double gap = value - level.alpha * parts[k].mean;
      exponents[k] = -0.5 * gap * gap / parts[k].variance_at(level) - 0.5 * std::log(parts[k].variance_at(level));
    }
    const double largest = std::max(exponents[0], exponents[1]);
    for (int k = 0; k < 2; ++k) {
      const double weight = kShare[k] * std::exp(exponents[k] - largest);
      total += weight;
      sum += weight * parts[k].denoise(value, level);
    }
    result.push_back(sum / total);
  }
  return result;
}

}  // namespace thaw::testing
