#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/denoiser.h"
#include "core/kernels/weighted_sum.h"
#include "core/lanes.h"
#include "core/math/philox.h"
#include "core/model.h"
#include "tests/catch.h"
#include "tests/core/guided.h"

using namespace thaw;

namespace {

at::Tensor normals(at::IntArrayRef shape, std::uint64_t seed, at::ScalarType type = at::kFloat) {
  at::Tensor x = at::empty(shape);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther});
  return x.to(type);
}

/// A network whose answer depends on the sample, its noise number and its label.
class Formula : public Backbone {
 public:
  explicit Formula(bool learns_variance) : learns_variance_(learns_variance), parameters_(0) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    const at::Tensor shift = (noise * 1e-3 + condition.at("label").to(at::kFloat)).reshape({-1, 1, 1, 1});
    const at::Tensor f = at::sin(x) + shift;
    return learns_variance_ ? at::cat({f, at::tanh(x)}, 1) : f;
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  bool learns_variance_;
  Parameters parameters_;
};

Model formula_model(bool learns_variance) {
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  Parameterisation own;
  own.schedule = schedules.create(Config::empty(), "cosine");
  own.learns_variance = learns_variance;
  Model model{.spec = {{2, 3, 3}, 10}, .parameterisation = own, .backbone = std::make_unique<Formula>(learns_variance)};
  return model;
}

}  // namespace

CATCH_TEST_CASE("guidance is neutral at scale 1 and weighs the branches off it", "[core][guidance]") {
  int asked = 0;
  const Denoiser two = [&](const Latent& x, const Query& query) {
    Outputs outputs;
    asked += static_cast<int>(query.branches.size());
    for (const Branch branch : query.branches)
      outputs.push_back(Latent::of(at::full_like(x.main(), branch == Branch::kConditional ? 3.0 : 1.0)));
    return outputs;
  };
  const auto value = [&](const char* yaml, const Level& level) {
    const Denoiser guided = with_guidance(two, make_guidance(yaml));
    return guided(Latent::of(at::zeros({1})), {level}).front().data.main().item<double>();
  };
  const Level middle{0.7, 0.7}, noisy{0.01, 0.9999};
  CATCH_CHECK(value("{scale: 1}", middle) == 3.0);
  CATCH_CHECK(asked == 1);  // the unconditional branch costs nothing when it has no weight
  CATCH_CHECK(value("{scale: 2}", middle) == Catch::Approx(5.0));
  CATCH_CHECK(value("{scale: 2, interval: [0.2, 0.8]}", middle) == Catch::Approx(5.0));
  CATCH_CHECK(value("{scale: 2, interval: [0.2, 0.8]}", noisy) == 3.0);
}

CATCH_TEST_CASE("the fused sum is its ATen twin to the last bit but one", "[core][kernels]") {
  // Fused multiply-adds on both sides; where ATen rounds twice (the rest of a vector) the terms' size bounds the gap.
  for (const at::ScalarType type : {at::kFloat, at::kDouble})
    for (const std::int64_t n : {1, 7, 8, 513, 100003})
      for (const std::size_t terms : {1, 2, 3, 4, 5, 9}) {
        std::vector<at::Tensor> tensors;
        std::vector<const at::Tensor*> in;
        std::vector<double> weights;
        at::Tensor size = at::zeros({n}, type);
        for (std::size_t k = 0; k < terms; ++k) {
          tensors.push_back(normals({n}, k, type));
          weights.push_back(1.7 - 0.9 * static_cast<double>(k));
          size = at::maximum(size, tensors.back().abs() * std::abs(weights.back()));
        }
        for (const at::Tensor& tensor : tensors) in.push_back(&tensor);
        const at::Tensor twin = weighted_sum_aten(in, weights);
        at::Tensor fused;
        weighted_sum_into(fused, in, weights);
        CATCH_CAPTURE(n, terms);
        const double ulp = type == at::kFloat ? 0x1p-23 : 0x1p-52;
        const at::Tensor allowed = size * (ulp * static_cast<double>(terms));
        CATCH_CHECK(((fused - twin).abs() <= allowed).all().item<bool>());
        // In place, whichever input it is.
        at::Tensor last = tensors.back();
        weighted_sum_into(last, in, weights);
        CATCH_CHECK(at::equal(last, fused));
      }
}

CATCH_TEST_CASE("a sum that wants gradients goes through the twin", "[core][kernels]") {
  const at::Tensor a = at::ones({3}).requires_grad_(), b = at::full({3}, 2.0);
  at::Tensor sum;
  weighted_sum_into(sum, std::vector<const at::Tensor*>{&a, &b}, std::vector<double>{3.0, 0.5});
  sum.sum().backward();
  CATCH_CHECK(at::equal(a.grad(), at::full({3}, 3.0)));
  CATCH_CHECK(at::equal(sum.detach(), at::full({3}, 4.0)));
}

CATCH_TEST_CASE("thresholding clips, or shrinks a sample by its own percentile", "[core][thresholding]") {
  ThresholdingRegistry thresholds("thresholding");
  register_thresholding(thresholds);
  const auto value = [&](const char* yaml, const at::Tensor& x) {
    const Thresholding threshold = thresholds.create(Config::parse(yaml, "t"), "none");
    return threshold ? threshold(x) : x;
  };
  // 101 values 0 ... 4 and the same a tenth as large: the 90th percentile of the first is 3.6, of the second 0.36 < 1.
  const at::Tensor ramp = at::linspace(0, 4, 101, at::kDouble), x = at::stack({ramp, -0.1 * ramp});
  CATCH_CHECK(at::equal(value("type: none", x), x));
  CATCH_CHECK(at::equal(value("{type: static, range: 2}", x), at::clamp(x, -2, 2)));
  const at::Tensor y = value("{type: dynamic, percentile: 0.9}", x);
  CATCH_CHECK(at::allclose(y[0], at::clamp(ramp, -3.6, 3.6) / 3.6, 1e-12));
  CATCH_CHECK(at::equal(y[1], x[1]));
  CATCH_CHECK(at::allclose(value("{type: dynamic, percentile: 0.9, max: 2}", x)[0], at::clamp(ramp, -2, 2) / 2, 1e-12));
  CATCH_CHECK_THROWS_AS(value("{type: dynamic, range: 3, max: 2}", x), ConfigError);
}

CATCH_TEST_CASE("guidance asks lanes together where their weights agree and one by one where not", "[core][guidance]") {
  int calls = 0;
  const Denoiser two = [&](const Latent& x, const Query& query) {
    ++calls;
    Outputs outputs;
    for (const Branch branch : query.branches)
      outputs.push_back(Latent::of(at::full_like(x.main(), branch == Branch::kConditional ? 3.0 : 1.0)));
    return outputs;
  };
  const Denoiser guided = with_guidance(two, make_guidance("{scale: 2, interval: [0.2, 0.8]}"));
  const Level middle{0.7, 0.7}, noisy{0.01, 0.9999};
  const Latent x = Latent::of(at::zeros({4, 2}));
  const at::Tensor together = guided(x, {.at = middle, .lanes = {middle, middle}}).front().data.main();
  CATCH_CHECK(calls == 1);
  CATCH_CHECK(at::equal(together, at::full({4, 2}, 5.0)));
  const at::Tensor apart = guided(x, {.at = middle, .lanes = {middle, noisy}}).front().data.main();
  CATCH_CHECK(calls == 3);
  CATCH_CHECK(at::equal(apart.narrow(0, 0, 2), at::full({2, 2}, 5.0)));
  CATCH_CHECK(at::equal(apart.narrow(0, 2, 2), at::full({2, 2}, 3.0)));
}

CATCH_TEST_CASE("a model answers lanes together as it answers them one by one", "[core][model]") {
  for (const bool learns_variance : {false, true}) {
    const Model model = formula_model(learns_variance);
    const Denoiser denoiser = model.denoiser({{"label", at::tensor({1, 4}, at::kLong)}});
    const Latent x = Latent::of(normals({6, 2, 3, 3}, 1));
    Query query{.at = {0.0, 0.0}, .branches = {Branch::kConditional, Branch::kUnconditional}};
    query.lanes = {{0.2, 0.98}, {0.6, 0.8}, {0.98, 0.2}};
    const Outputs together = denoiser(x, query), apart = ask_by_lane(denoiser, x, query);
    for (std::size_t b = 0; b < 2; ++b) {
      // float32 sums in another order: 1e-5 of numbers of order 10.
      CATCH_CHECK(at::allclose(together[b].data.main(), apart[b].data.main(), 1e-5, 1e-5));
      CATCH_CHECK(together[b].variance.has_value() == learns_variance);
      if (learns_variance) CATCH_CHECK(at::allclose(together[b].variance->main(), at::tanh(x.main()), 1e-5, 1e-5));
    }
    // Labels 1 and 4 against the null label 10: the branches differ.
    CATCH_CHECK_FALSE(at::allclose(together[0].data.main(), together[1].data.main(), 1e-2, 1e-2));
  }
}
