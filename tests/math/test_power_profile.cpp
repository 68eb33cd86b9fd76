#include <cmath>
#include <numeric>

#include "core/base/error.h"
#include "core/math/power_profile.h"
#include "tests/catch.h"

using namespace thaw;

CATCH_TEST_CASE("exponents and widths of power-function averages are each other's inverse", "[math][ema]") {
  // Karras et al. 2024, section 3.1: std 0.05 and 0.10 are gamma 16.97 and 6.94.
  CATCH_CHECK(power_gamma(0.05) == Catch::Approx(16.97).epsilon(1e-3));
  CATCH_CHECK(power_gamma(0.10) == Catch::Approx(6.94).epsilon(1e-3));
  for (const double std : {0.01, 0.05, 0.15, 0.28})
    CATCH_CHECK(power_std(power_gamma(std)) == Catch::Approx(std).epsilon(1e-12));
  CATCH_CHECK_THROWS_AS(power_gamma(0.3), ConfigError);
  CATCH_CHECK_THROWS_AS(power_gamma(0.0), ConfigError);
}

namespace {

// The average of w(t) = t by its own recursion, in steps.
double averaged(double gamma, int steps) {
  double average = 0.0;
  for (int t = 1; t <= steps; ++t) average += (1 - power_decay(gamma, t)) * (t - average);
  return average;
}

}  // namespace

CATCH_TEST_CASE("the recursion has the profile it is said to have", "[math][ema]") {
  // The mean of tau under the profile is (gamma + 1) / (gamma + 2) of the time; the first step counts whole.
  for (const double gamma : {0.0, 6.94, 16.97})
    CATCH_CHECK(averaged(gamma, 20000) / 20000 == Catch::Approx((gamma + 1) / (gamma + 2)).epsilon(2e-4));
}

CATCH_TEST_CASE("an average is had again from snapshots of two others", "[math][ema]") {
  const double g1 = power_gamma(0.05), g2 = power_gamma(0.10);
  std::vector<PowerProfile> stored;
  std::vector<double> values;
  constexpr int kSteps = 4096;
  for (int t = kSteps / 16; t <= kSteps; t += kSteps / 16)
    for (const double gamma : {g1, g2}) {
      stored.push_back({static_cast<double>(t), gamma});
      values.push_back(averaged(gamma, t));
    }
  // One that was stored is itself.
  const Reconstruction same = reconstruct(stored, stored[20]);
  CATCH_CHECK(same.mismatch < 1e-6);
  for (const double std : {0.03, 0.07, 0.12, 0.20}) {
    CATCH_CAPTURE(std);
    const double gamma = power_gamma(std);
    const Reconstruction r = reconstruct(stored, {kSteps, gamma});
    // The narrower the profile beside the distance of snapshots, the coarser.
    CATCH_CHECK(r.mismatch < (std < 0.05 ? 0.3 : 0.06));
    CATCH_CHECK(std::accumulate(r.weights.begin(), r.weights.end(), 0.0) == Catch::Approx(1.0).margin(0.01));
    double made = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) made += r.weights[i] * values[i];
    CATCH_CHECK(made == Catch::Approx(averaged(gamma, kSteps)).epsilon(std < 0.05 ? 5e-3 : 2e-3));
  }
}
