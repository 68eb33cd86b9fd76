#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/math/philox.h"
#include "core/metrics/frechet.h"
#include "core/metrics/similarity.h"
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

CATCH_TEST_CASE("PSNR and SSIM are those of scikit-image and of windows written out", "[core][metrics]") {
  const nlohmann::json golden = nlohmann::json::parse(read_file("tests/golden/similarity.json"));
  CATCH_REQUIRE(golden["cases"].size() == 4);
  for (const auto& one : golden["cases"]) {
    const auto tensor = [&](const char* name) {
      const auto values = one[name].get<std::vector<double>>();
      return at::tensor(values, at::kDouble).view({1, 1, one["height"].get<int>(), one["width"].get<int>()}) / 255.0;
    };
    const at::Tensor a = tensor("a"), b = tensor("b");
    CATCH_CHECK(peak_signal_to_noise(a, b).item<double>() == Catch::Approx(one["psnr"].get<double>()).epsilon(1e-12));
    CATCH_CHECK(structural_similarity(a, b).item<double>() == Catch::Approx(one["ssim"].get<double>()).margin(1e-12));
    CATCH_CHECK(structural_similarity(b, a).item<double>() == Catch::Approx(one["ssim"].get<double>()).margin(1e-12));
    CATCH_CHECK(structural_similarity(a, a).item<double>() == Catch::Approx(1.0).margin(1e-12));
    CATCH_CHECK(peak_signal_to_noise(a, a).item<double>() == 120.0);
  }
}

CATCH_TEST_CASE("pictures of one sample are compared one by one, channels together", "[core][metrics]") {
  const at::Tensor a = at::rand({2, 3, 4, 12, 13}, at::kDouble), b = at::rand({2, 3, 4, 12, 13}, at::kDouble);
  const at::Tensor psnr = peak_signal_to_noise(a, b), ssim = structural_similarity(a, b);
  CATCH_CHECK(psnr.sizes() == at::IntArrayRef{2, 4});
  CATCH_CHECK(ssim.sizes() == at::IntArrayRef{2, 4});
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t k = 0; k < 4; ++k) {
      const auto one = [&](const at::Tensor& x) { return x[n].select(1, k).unsqueeze(0); };
      CATCH_CHECK(peak_signal_to_noise(one(a), one(b)).item<double>() == Catch::Approx(psnr[n][k].item<double>()));
      CATCH_CHECK(psnr[n][k].item<double>() ==
                  Catch::Approx(-10 * std::log10((one(a) - one(b)).square().mean().item<double>())));
      double sum = 0.0;
      for (std::int64_t c = 0; c < 3; ++c)
        sum += structural_similarity(one(a).narrow(1, c, 1), one(b).narrow(1, c, 1)).item<double>();
      CATCH_CHECK(ssim[n][k].item<double>() == Catch::Approx(sum / 3));
    }
  CATCH_CHECK_THROWS_WITH(structural_similarity(a, b.narrow(3, 0, 11)), Catch::Contains("must have one shape"));
  CATCH_CHECK_THROWS_WITH(structural_similarity(a.narrow(3, 0, 10), b.narrow(3, 0, 10)),
                          Catch::Contains("window of 11"));
}
