// One evaluation against the teacher's trajectory, on Gaussian data.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/checkpoint.h"
#include "tests/core/gaussian_networks.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

Model student(Gain*& gain) {
  auto backbone = std::make_unique<Gain>(false, Gain::Formula{});
  gain = backbone.get();
  Model model = model_of(std::move(backbone), schedule("cosine", "{lambda_min: -3}"), Prediction::kV);
  const Gain::Formula map = exact_gain(model.parameterisation);
  gain->use([map](const at::Tensor& noise, const at::Tensor&) { return map(noise, at::zeros_like(noise)); });
  return model;
}

StepContext at_step(std::uint64_t step) {
  return {.seed = 3, .step = step, .batch = 8, .first_in_batch = 0, .steps = 10};
}

}  // namespace

CATCH_TEST_CASE("the exact one-step map costs what the teacher's steps leave, and falls with them",
                "[core][few_step]") {
  Gain* gain = nullptr;
  const Model model = student(gain);
  double before = 1.0;
  for (const char* yaml : {"{teacher: exact, steps: 16, huber: 0.0}", "{teacher: exact, steps: 64, huber: 0.0}"}) {
    const ObjectivePtr what = objective("direct_distillation", yaml);
    what->prepare(model);
    const double now = losses(*what, model, 64, 0, 1).mean().item<double>();
    CATCH_CHECK(now < before / 8);  // second order: 16 in the limit
    before = now;
  }
  CATCH_CHECK(before < 3e-3);
  gain->use([](const at::Tensor& noise, const at::Tensor&) { return at::zeros_like(noise); });
  const ObjectivePtr what = objective("direct_distillation", "{teacher: exact, steps: 64}");
  what->prepare(model);
  CATCH_CHECK(losses(*what, model, 64, 0, 1).mean().item<double>() > 0.1);
}

CATCH_TEST_CASE("kept pairs are made once, used again, and saved", "[core][few_step]") {
  Gain* gain = nullptr;
  const Model model = student(gain);
  const auto make = [&] {
    ObjectivePtr what = objective("direct_distillation", "{teacher: exact, steps: 16, pairs: 16, huber: 0.0}");
    what->prepare(model);
    return what;
  };
  const at::Tensor x0 = at::zeros({8, 4}, at::kDouble);
  const ObjectivePtr what = make();
  const at::Tensor first = what->loss(model, x0, {}, at_step(0)), second = what->loss(model, x0, {}, at_step(1));
  const NamedTensors state = what->state();
  CATCH_REQUIRE(state.size() == 1);
  CATCH_CHECK(state.front().second.sizes() == at::IntArrayRef({16, 4}));
  CATCH_CHECK(state.front().second.abs().min().item<double>() > 0.0);
  CATCH_CHECK_FALSE(at::equal(first, second));
  CATCH_CHECK(at::equal(first, what->loss(model, x0, {}, at_step(2))));
  CATCH_CHECK(at::equal(second, what->loss(model, x0, {}, at_step(3))));
  // One that goes on from the saved state sees the same.
  const ObjectivePtr resumed = make();
  assign(resumed->state(), state, "saved");
  CATCH_CHECK(at::equal(second, resumed->loss(model, x0, {}, at_step(3))));
}

CATCH_TEST_CASE("kept pairs are refused for other conditions than labels and broken batches",
                "[core][few_step][errors]") {
  Gain* gain = nullptr;
  const Model model = student(gain);
  const ObjectivePtr what = objective("direct_distillation", "{teacher: exact, pairs: 12}");
  what->prepare(model);
  const at::Tensor x0 = at::zeros({8, 4}, at::kDouble);
  CATCH_CHECK_THROWS_WITH(what->loss(model, x0, {}, at_step(0)), Catch::Contains("multiple of train.batch 8, got 12"));
  const ObjectivePtr other = objective("direct_distillation", "{teacher: exact, pairs: 16}");
  other->prepare(model);
  CATCH_CHECK_THROWS_WITH(other->loss(model, x0, {{"text", at::zeros({8, 2})}}, at_step(0)),
                          Catch::Contains("conditioned on text"));
}
