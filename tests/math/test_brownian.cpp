#include "tests/catch.h"

#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/math/brownian.h"
#include "tests/plans.h"

using namespace thaw;

namespace {

constexpr std::size_t kCount = 40000;  // standard error of a correlation: 0.005

std::vector<float> increment(double from, double to, std::uint64_t sample = 0) {
  std::vector<float> z(kCount);
  fill_path_increment(z, {.seed = 11, .sample = sample}, from, to);
  return z;
}

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i] / static_cast<double>(a.size());
  return sum;
}

}  // namespace

CATCH_TEST_CASE("increments are standard normal on every kind of interval", "[math][brownian]") {
  for (const auto& [from, to] : std::vector<std::pair<double, double>>{
           {-16, 16}, {0, 16}, {-4.382, 6.2146}, {0.1, 0.2}, {1.0, 1.0001}, {-40, 3}, {2, 1e9}}) {
    const std::vector<float> z = increment(from, to);
    double mean = 0.0, fourth = 0.0;
    for (const float value : z) {
      mean += value / static_cast<double>(kCount);
      fourth += std::pow(value, 4) / static_cast<double>(kCount);
    }
    CATCH_CAPTURE(from, to);
    CATCH_CHECK(mean == Catch::Approx(0.0).margin(0.025));  // 5 standard errors
    CATCH_CHECK(correlation(z, z) == Catch::Approx(1.0).margin(0.036));
    CATCH_CHECK(fourth == Catch::Approx(3.0).margin(0.25));
  }
}

CATCH_TEST_CASE("intervals have the covariance of one Brownian motion", "[math][brownian]") {
  const std::vector<float> base = increment(-1.0, 2.0);
  CATCH_CHECK(increment(-1.0, 2.0) == base);
  CATCH_CHECK(correlation(base, increment(2.0, 3.5)) == Catch::Approx(0.0).margin(0.025));
  CATCH_CHECK(correlation(base, increment(-1.0, 0.5)) == Catch::Approx(std::sqrt(1.5 / 3.0)).margin(0.025));
  CATCH_CHECK(correlation(base, increment(0.0, 4.0)) == Catch::Approx(2.0 / std::sqrt(3.0 * 4.0)).margin(0.025));
  CATCH_CHECK(correlation(base, increment(-1.0, 2.0, 1)) == Catch::Approx(0.0).margin(0.025));
}

CATCH_TEST_CASE("two halves of an interval add up to the whole", "[math][brownian]") {
  // 0.3, 1.7 and 0.9 are lattice points up to half a cell of 3e-5, which changes a share by 1e-5.
  const std::vector<float> whole = increment(0.3, 1.7), first = increment(0.3, 0.9), second = increment(0.9, 1.7);
  double worst = 0.0;
  for (std::size_t i = 0; i < kCount; ++i)
    worst = std::max(worst, std::abs(std::sqrt(0.6 / 1.4) * first[i] + std::sqrt(0.8 / 1.4) * second[i] - whole[i]));
  CATCH_CHECK(worst < 2e-4);
}

CATCH_TEST_CASE("the cached path gives the numbers of the stateless one", "[math][brownian]") {
  const NoiseKey key{.seed = 3, .purpose = Purpose::kStart, .sample = 8, .draw = 99, .tensor = 1};
  PathNoise path(key, 130);
  std::vector<float> cached(130), alone(130);
  // Consecutive, overlapping (DPM++ SDE), repeated and backward intervals.
  for (const auto& [from, to] : std::vector<std::pair<double, double>>{
           {-4, -3}, {-3, -2.5}, {-3, -2}, {-2, -1}, {-2, -1}, {-3, -1}, {-4, -3}, {-16, 0}, {-1, 0}}) {
    path.fill(cached, from, to);
    fill_path_increment(alone, key, from, to);
    CATCH_CAPTURE(from, to);
    CATCH_CHECK(cached == alone);
  }
}

CATCH_TEST_CASE("the first elements of a path do not depend on how many there are", "[math][brownian]") {
  std::vector<float> few(70), many(1000);
  fill_path_increment(few, {.seed = 1}, 0, 1);
  fill_path_increment(many, {.seed = 1}, 0, 1);
  CATCH_CHECK(std::equal(few.begin(), few.end(), many.begin()));
}

CATCH_TEST_CASE("an interval without lattice points inside is refused", "[math][brownian]") {
  std::vector<float> z(4);
  CATCH_CHECK_THROWS_AS(fill_path_increment(z, {}, 1.0, 1.00001), Error);
  CATCH_CHECK_THROWS_AS(fill_path_increment(z, {}, 17.0, 18.0), Error);
  CATCH_CHECK(path_lattice_index(-16) == 0);
  CATCH_CHECK(path_lattice_index(16) == std::uint32_t{1} << kPathDepth);
}
