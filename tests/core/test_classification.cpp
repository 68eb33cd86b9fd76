// What classifiers are shown in training: examples moved, louder or softer, and with noise, by seed and step.

#include <cmath>
#include <set>

#include <ATen/ATen.h>

#include "core/level_samplers.h"
#include "core/metrics/features.h"
#include "core/nn/parameters.h"
#include "core/objective.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

// Keeps what it is shown.
class Spy : public Classifier {
 public:
  at::Tensor features(const at::Tensor& x) const override { return x.flatten(1); }
  at::Tensor logits(const at::Tensor& x) const override {
    seen = x;
    return at::zeros({x.size(0), 2});
  }
  std::vector<at::Tensor> layers(const at::Tensor& x) const override { return {features(x).unsqueeze(2)}; }
  const Parameters& parameters() const override { return parameters_; }
  mutable at::Tensor seen;

 private:
  Parameters parameters_{0};
};

at::Tensor shown(const std::string& options, const at::Tensor& x0, std::uint64_t step = 3, std::int64_t first = 0) {
  ObjectiveRegistry objectives("objective");
  register_objectives(objectives);
  WeightingRegistry weightings("weighting");
  register_weightings(weightings);
  LevelSamplerRegistry samplers("level sampler");
  register_level_samplers(samplers);
  const Config config = Config::parse("o: {type: classification" + options + "}", "test.yaml");
  const ObjectivePtr objective =
      objectives.create(config.section("o"), "", ObjectiveParts{weightings, samplers}, config.section("o"));
  Model model;
  model.spec = {{1, x0.size(-1)}, 2};
  model.backbone = std::make_unique<Spy>();
  StepContext context;
  context.seed = 7, context.step = step, context.batch = 8, context.first_in_batch = first;
  const Condition condition{{"label", at::zeros({x0.size(0)}, at::kLong)}};
  const at::Tensor loss = objective->loss(model, x0, condition, context);
  CATCH_CHECK(at::allclose(loss, at::full({x0.size(0)}, std::log(2.0))));
  return dynamic_cast<const Spy&>(*model.backbone).seen;
}

// 1, 2, 3 ... in every row, [8, 1, 50].
at::Tensor counted() {
  return at::arange(1, 51, at::kFloat).expand({8, 1, 50}).contiguous();
}

}  // namespace

CATCH_TEST_CASE("sounds move in time alone, by at most the shift, and silence moves in", "[core][classification]") {
  const at::Tensor seen = shown(", shift: 10, fill: 0", counted());
  CATCH_REQUIRE(seen.sizes() == at::IntArrayRef{8, 1, 50});
  std::set<std::int64_t> shifts;
  for (std::int64_t n = 0; n < 8; ++n) {
    const at::Tensor row = seen[n][0];
    const auto middle = static_cast<std::int64_t>(row[25].item<float>());
    shifts.insert(middle - 26);
    CATCH_CHECK(std::abs(middle - 26) <= 10);
    const at::Tensor expected = at::arange(middle - 25, middle + 25, at::kFloat);
    CATCH_CHECK(row.equal(at::where(expected.ge(1).logical_and(expected.le(50)), expected, at::zeros({50}))));
  }
  CATCH_CHECK(shifts.size() > 3);
}

CATCH_TEST_CASE("gains are factors within their decibels, noise has at most its deviation", "[core][classification]") {
  const at::Tensor x = at::ones({8, 1, 5000});
  const at::Tensor gains = shown(", shift: 0, gain: 6", x);
  CATCH_CHECK(gains.std({2}, false).max().item<double>() == 0.0);
  const at::Tensor decibels = 20.0 * gains.select(2, 0).flatten().log10();
  CATCH_CHECK(decibels.abs().max().item<double>() <= 6.0);
  CATCH_CHECK(decibels.std().item<double>() > 1.0);

  const at::Tensor spread = shown(", shift: 0, noise: 0.2", x).sub(x).std({2}, false).flatten();
  CATCH_CHECK(spread.max().item<double>() < 0.21);  // 5000 numbers: 1 %
  CATCH_CHECK(spread.std().item<double>() > 0.01);
  CATCH_CHECK(shown(", shift: 0", x).equal(x));
}

CATCH_TEST_CASE("what an example is shown as depends on step and place alone, not on the batch's parts",
                "[core][classification]") {
  const std::string all = ", shift: 5, fill: 0, gain: 3, noise: 0.1";
  const at::Tensor whole = shown(all, counted()), again = shown(all, counted());
  CATCH_CHECK(whole.equal(again));
  CATCH_CHECK(!whole.equal(shown(all, counted(), 4)));
  CATCH_CHECK(shown(all, counted().narrow(0, 2, 3), 3, 2).equal(whole.narrow(0, 2, 3)));
}
