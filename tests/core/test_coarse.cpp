// What the second network of a cascade is told.

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/coarse.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

/// Is told samples at a fraction of their resolution; gives nothing.
class Refiner : public Backbone {
 public:
  explicit Refiner(std::int64_t factor) : factor_(factor), parameters_(0) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) const override {
    return at::zeros_like(x);
  }
  const Parameters& parameters() const override { return parameters_; }
  std::int64_t coarse_factor() const override { return factor_; }

 private:
  std::int64_t factor_;
  Parameters parameters_;
};

Model refiner(std::int64_t factor) {
  Model model;
  model.backbone = std::make_unique<Refiner>(factor);
  return model;
}

}  // namespace

CATCH_TEST_CASE("a coarser sample is the mean of blocks in every dimension", "[core][coarse]") {
  const at::Tensor line = at::arange(8, at::kFloat).reshape({1, 1, 8});
  CATCH_CHECK(at::equal(coarse_of(line, 4), at::tensor({1.5f, 5.5f}).reshape({1, 1, 2})));
  const at::Tensor picture = at::linspace(-1, 1, 2 * 3 * 8 * 12).sin().reshape({2, 3, 8, 12});
  CATCH_CHECK(at::allclose(coarse_of(picture, 4), at::avg_pool2d(picture, {4, 4}), 0, 1e-6));
  const at::Tensor volume = at::linspace(-1, 1, 2 * 4 * 6 * 8).sin().reshape({1, 2, 4, 6, 8});
  CATCH_CHECK(at::allclose(coarse_of(volume, 2), at::avg_pool3d(volume, {2, 2, 2}), 0, 1e-6));
  CATCH_CHECK(at::equal(coarse_of(picture, 1), picture));
  CATCH_CHECK_THROWS_WITH(coarse_of(picture, 5), Catch::Contains("5 does not divide"));
}

CATCH_TEST_CASE("what a network is told has the noise it is told of, from none to all", "[core][coarse]") {
  constexpr std::int64_t kExamples = 2000;
  const at::Tensor x0 = at::full({kExamples, 1, 4, 4}, 0.5f);
  std::vector<std::uint64_t> samples;
  for (std::int64_t i = 0; i < kExamples; ++i) samples.push_back(static_cast<std::uint64_t>(i));
  const Model model = refiner(2);
  const Condition told = with_coarse(model, x0, {}, 7, samples);
  const at::Tensor u = told.at("coarse_noise").to(at::kDouble), coarse = told.at("coarse").to(at::kDouble);
  CATCH_REQUIRE(coarse.sizes() == at::IntArrayRef({kExamples, 1, 2, 2}));
  // Uniform in [0, 1]: standard error of the mean 0.29 / sqrt(2000) = 0.0065.
  CATCH_CHECK(std::abs(u.mean().item<double>() - 0.5) < 5 * 0.0065);
  CATCH_CHECK(u.min().item<double>() >= 0.0);
  CATCH_CHECK(u.max().item<double>() < 1.0);
  CATCH_CHECK(u.std().item<double>() == Catch::Approx(std::sqrt(1.0 / 12)).margin(0.02));
  // (coarse - alpha x0) / sigma is standard normal: 8000 numbers, standard errors 0.011 and 0.008.
  const at::Tensor angle = (u * (std::acos(-1.0) / 2)).reshape({-1, 1, 1, 1});
  const at::Tensor eps = (coarse - angle.cos() * 0.5) / angle.sin();
  const at::Tensor is_seen = (u > 0.05).reshape({-1, 1, 1, 1}).expand_as(eps);  // float32 over a tiny sigma is rounding
  CATCH_CHECK(std::abs(eps.masked_select(is_seen).mean().item<double>()) < 0.055);
  CATCH_CHECK(eps.masked_select(is_seen).std().item<double>() == Catch::Approx(1.0).margin(0.04));
  CATCH_CHECK(coarse_level(0.0).sigma == 0.0);
  CATCH_CHECK(std::abs(coarse_level(1.0).alpha) < 1e-15);

  const std::vector<std::uint64_t> third{3};
  const Condition alone = with_coarse(model, x0.narrow(0, 3, 1), {}, 7, third);
  CATCH_CHECK(at::equal(alone.at("coarse")[0], told.at("coarse")[3]));
  CATCH_CHECK(at::equal(alone.at("coarse_noise")[0], told.at("coarse_noise")[3]));
  CATCH_CHECK(!at::equal(with_coarse(model, x0, {}, 8, samples).at("coarse"), told.at("coarse")));
  CATCH_CHECK(with_coarse(refiner(0), x0, {}, 7, samples).empty());
}

CATCH_TEST_CASE("guidance takes the text away and leaves the coarser sample", "[core][coarse]") {
  const Model model = refiner(2);
  const at::Tensor coarse = at::ones({1, 1, 2, 2}), caption = at::ones({1, 4}, at::kByte);
  const Condition null = model.unconditional({{"coarse", coarse}, {"caption", caption}});
  CATCH_CHECK(at::equal(null.at("coarse"), coarse));
  CATCH_CHECK(null.at("caption").sum().item<std::int64_t>() == 0);
}
