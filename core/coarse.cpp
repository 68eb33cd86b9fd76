#include "core/coarse.h"

#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"
#include "core/objective.h"

namespace thaw {

namespace {

// Of Purpose::kTrainCondition and kTrainNoise, beside those of the objectives.
constexpr std::uint32_t kCoarseDraw = 16;

}  // namespace

at::Tensor coarse_of(const at::Tensor& x, std::int64_t factor) {
  at::Tensor result = x;
  for (std::int64_t d = 2; d < x.dim(); ++d) {
    if (x.size(d) % factor != 0)
      throw ConfigError(concat("backbone.coarse: ", factor, " does not divide samples of ", x.sizes().slice(1), "."));
    result = result.unflatten(d, {x.size(d) / factor, factor}).mean(d + 1);
  }
  return result;
}

Level coarse_level(double u) {
  const double angle = u * std::numbers::pi / 2;
  return {std::cos(angle), std::sin(angle)};
}

void tell_coarse(Condition& condition, const at::Tensor& coarse, const at::Tensor& eps, std::span<const double> u) {
  std::vector<Level> levels;
  for (const double share : u) levels.push_back(coarse_level(share));
  condition["coarse"] = noised(coarse, eps, levels);
  condition["coarse_noise"] =
      at::tensor(std::vector<double>(u.begin(), u.end()), at::kDouble).to(coarse.device(), coarse.scalar_type());
}

Condition with_coarse(const Model& model, const at::Tensor& x0, Condition condition, std::uint64_t seed,
                      std::span<const std::uint64_t> samples) {
  const std::int64_t factor = model.backbone->coarse_factor();
  if (factor == 0) return condition;
  const at::Tensor coarse = coarse_of(x0, factor);
  std::vector<double> u;
  for (const std::uint64_t sample : samples)
    u.push_back(uniform({seed, Purpose::kTrainCondition, sample, kCoarseDraw, 0}, 0));
  tell_coarse(condition, coarse, training_noise(coarse, seed, samples, kCoarseDraw), u);
  return condition;
}

}  // namespace thaw
