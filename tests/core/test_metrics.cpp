#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/math/philox.h"
#include "core/metrics/frechet.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

at::Tensor normals(std::int64_t n, std::int64_t d, std::uint64_t seed) {
  at::Tensor x = at::empty({n, d});
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther, 0, 0, 0});
  return x.to(at::kDouble);
}

// Features whose sample mean is exactly 0 and sample covariance exactly the identity.
at::Tensor whitened(std::int64_t n, std::int64_t d, std::uint64_t seed) {
  at::Tensor x = normals(n, d, seed);
  x = x - x.mean(0, true);
  const at::Tensor covariance = x.t().matmul(x) / static_cast<double>(n - 1);
  return at::linalg_solve_triangular(at::linalg_cholesky(covariance), x.t(), false).t();
}

}  // namespace

CATCH_TEST_CASE("the Frechet distance of two Gaussians has its closed form", "[core][metrics]") {
  const at::Tensor a = whitened(200, 5, 1), b = whitened(300, 5, 2);
  CATCH_CHECK(frechet_distance(a, b) == Catch::Approx(0.0).margin(1e-10));
  // Means 2 apart in one coordinate: 4. Deviations s against 1 in all five: 5 (s - 1)^2.
  at::Tensor moved = b.clone();
  moved.select(1, 0).add_(2.0);
  CATCH_CHECK(frechet_distance(a, moved) == Catch::Approx(4.0).margin(1e-9));
  CATCH_CHECK(frechet_distance(a, b * 3.0) == Catch::Approx(5 * 4.0).margin(1e-9));
  CATCH_CHECK(frechet_distance(a, b * 3.0) == Catch::Approx(frechet_distance(b * 3.0, a)).margin(1e-9));
}

CATCH_TEST_CASE("sets that cannot be compared are refused with both shapes", "[core][metrics]") {
  CATCH_CHECK_THROWS_AS(frechet_distance(normals(10, 3, 1), normals(10, 4, 1)), DataError);
  CATCH_CHECK_THROWS_AS(frechet_distance(normals(1, 3, 1), normals(10, 3, 1)), DataError);
}

CATCH_TEST_CASE("the interval of a distance lies about it, and narrows with more samples", "[core][metrics]") {
  const at::Tensor reference = normals(2000, 8, 1) + 0.3;
  double widths[2];
  for (int k = 0; k < 2; ++k) {
    const at::Tensor own = normals(k == 0 ? 100 : 1600, 8, 2);
    const Interval interval = frechet_interval(own, reference, 3, 100);
    const double value = frechet_distance(own, reference);
    CATCH_CHECK(interval.low < value);
    CATCH_CHECK(value < interval.high);
    widths[k] = interval.high - interval.low;
  }
  CATCH_CHECK(widths[1] < 0.5 * widths[0]);
}

CATCH_TEST_CASE("the interval of a proportion is Wilson's", "[core][metrics]") {
  // Wilson 1927; 98 of 100 gives [0.9300, 0.9945] (computed by hand from the formula).
  const Interval interval = proportion_interval(98, 100);
  CATCH_CHECK(interval.low == Catch::Approx(0.93002).margin(1e-4));
  CATCH_CHECK(interval.high == Catch::Approx(0.99449).margin(1e-4));
  CATCH_CHECK(proportion_interval(10, 10).high == Catch::Approx(1.0));
}
