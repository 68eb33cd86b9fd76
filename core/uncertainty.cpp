#include "core/uncertainty.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <ATen/ATen.h>

#include "core/math/philox.h"
#include "core/model.h"

namespace thaw {

namespace {

constexpr std::int64_t kFeatures = 128;
constexpr double kLargestLambda = 20.0;  // where a level has no signal or no noise, the number stays finite

double number_of(const Level& level) {
  return -std::clamp(level.lambda(), -kLargestLambda, kLargestLambda) / 4.0;
}

}  // namespace

// One dimension each: no weight decay.
LearnedUncertainty::LearnedUncertainty(std::uint64_t seed)
    : parameters_(seed),
      weight_(parameters_.add("uncertainty.weight", {kFeatures}, Init::zeros())),
      bias_(parameters_.add("uncertainty.bias", {1}, Init::zeros())) {}

void LearnedUncertainty::to(const c10::Device& device) {
  move_weights(parameters_, device);
}

at::Tensor LearnedUncertainty::operator()(std::span<const Level> levels) const {
  // The frequencies are part of the definition, the same in every run.
  const NoiseKey key{0, Purpose::kWeights, 1, 0, 0};
  std::vector<double> features;
  for (const Level& level : levels)
    for (std::int64_t k = 0; k < kFeatures; ++k) {
      const auto at = static_cast<std::uint64_t>(k);
      const double turns = normal(key, 2 * at) * number_of(level) + uniform(key, 2 * at + 1);
      features.push_back(std::numbers::sqrt2 * std::cos(2.0 * std::numbers::pi * turns));
    }
  const at::Tensor features_ND = at::tensor(features, at::kDouble)
                                     .reshape({static_cast<std::int64_t>(levels.size()), kFeatures})
                                     .to(weight_.device(), at::kFloat);
  // Of unit size, as magnitude-preserving layers have it.
  return at::mv(features_ND, weight_) / std::sqrt(static_cast<double>(kFeatures)) + bias_;
}

}  // namespace thaw
