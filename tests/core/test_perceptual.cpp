#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/metrics/features.h"
#include "core/perceptual.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

/// Sees the data itself, and a weighted sum of its two channels.
class TwoLayers : public Classifier {
 public:
  TwoLayers() : parameters_(1), weight_(parameters_.add("w", {2}, Init::ones())) {}
  at::Tensor features(const at::Tensor& x) const override { return layers(x).back().flatten(1); }
  at::Tensor logits(const at::Tensor& x) const override { return features(x); }
  std::vector<at::Tensor> layers(const at::Tensor& x) const override {
    return {x, (x * weight_.reshape({1, 2, 1})).sum({1, 2}, true)};
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_;
  at::Tensor weight_;
};

class NoClassifier : public Backbone {
 public:
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) const override { return x; }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_{1};
};

Model student() {
  return {.spec = {{2, 3}, 0}, .parameterisation = {}, .backbone = std::make_unique<NoClassifier>()};
}

PerceptualDistance opened(std::unique_ptr<Backbone> backbone, std::vector<std::int64_t> shape) {
  auto model = std::make_shared<Model>(
      Model{.spec = {std::move(shape), 2}, .parameterisation = {}, .backbone = std::move(backbone)});
  PerceptualDistance distance("seen", [model](const std::string&) { return model; });
  distance.prepare(student(), "objective.perceptual");
  return distance;
}

}  // namespace

CATCH_TEST_CASE("a perceptual distance compares the directions of activations", "[core][perceptual]") {
  const PerceptualDistance distance = opened(std::make_unique<TwoLayers>(), {2, 3});
  // Channels along dimension 1: a points along the first at each of three positions, b along the second at one of them.
  const at::Tensor a = at::stack({at::full({3}, 2.0f), at::zeros({3})}).unsqueeze(0);
  at::Tensor b = a.clone();
  b[0][0][2] = 0.0f;
  b[0][1][2] = 0.5f;
  // One position of three turns by a right angle: |u - u'|^2 = 2, mean 2/3; the second layer's sums are both positive.
  CATCH_CHECK(distance(a, b).item<double>() == Catch::Approx(std::sqrt(2.0 / 3.0)).margin(2e-3));
  CATCH_CHECK(at::equal(distance(a, b), distance(b, a)));
  // Scale says nothing, but a change of sign turns both layers round: 4 in each.
  CATCH_CHECK(distance(a, 3 * a).item<double>() == Catch::Approx(0.0).margin(1e-6));
  CATCH_CHECK(distance(a, -a).item<double>() == Catch::Approx(std::sqrt(8.0)).margin(2e-3));
}

CATCH_TEST_CASE("a perceptual distance moves samples and never its network", "[core][perceptual]") {
  auto network = std::make_unique<TwoLayers>();
  const at::Tensor weight = network->parameters().all().front().second;
  const PerceptualDistance distance = opened(std::move(network), {2, 3});
  at::Tensor a = at::tensor({1.0f, 2.0f, 3.0f, 3.0f, 2.0f, 1.0f}).reshape({1, 2, 3});
  a.requires_grad_(true);
  distance(a, at::ones({1, 2, 3})).sum().backward();
  CATCH_CHECK(a.grad().abs().sum().item<double>() > 0.1);
  CATCH_CHECK_FALSE(weight.grad().defined());
}

CATCH_TEST_CASE("a perceptual distance is refused without a classifier of these samples",
                "[core][perceptual][errors]") {
  const auto message = [](std::unique_ptr<Backbone> backbone, std::vector<std::int64_t> shape) -> std::string {
    try {
      opened(std::move(backbone), std::move(shape));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  CATCH_CHECK_THAT(message(std::make_unique<NoClassifier>(), {2, 3}),
                   Catch::Contains("objective.perceptual") && Catch::Contains("seen is no classifier"));
  CATCH_CHECK_THAT(message(std::make_unique<TwoLayers>(), {2, 4}),
                   Catch::Contains("[2, 4]") && Catch::Contains("[2, 3]"));
}
