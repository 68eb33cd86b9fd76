#include "core/objective.h"

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/math/philox.h"

namespace thaw {

namespace {

// Between the seeds of a sample's positions; above all that a configuration may name.
constexpr std::uint64_t kNextPosition = (std::uint64_t{1} << 54) + 1;

}  // namespace

at::Tensor training_noise(const at::Tensor& x0, std::uint64_t seed, std::span<const std::uint64_t> samples,
                          std::uint32_t draw) {
  at::Tensor eps = at::empty(x0.sizes(), at::kFloat);
  const std::size_t num_elements = static_cast<std::size_t>(eps.numel()) / samples.size();
  for (std::size_t n = 0; n < samples.size(); ++n)
    fill_normal({eps.data_ptr<float>() + n * num_elements, num_elements},
                {seed, Purpose::kTrainNoise, samples[n], draw, 0});
  return eps.to(x0.device(), x0.scalar_type());
}

at::Tensor noised(const at::Tensor& x0, const at::Tensor& eps, std::span<const Level> levels) {
  std::vector<double> alpha, sigma;
  for (const Level& level : levels) {
    alpha.push_back(level.alpha);
    sigma.push_back(level.sigma);
  }
  return x0 * per_sample(alpha, x0) + eps * per_sample(sigma, x0);
}

NoisedBatch noised_batch(const Model& model, const at::Tensor& x0, const Condition& condition,
                         const LevelSampler& levels, double condition_dropout, const StepContext& context,
                         bool is_apart) {
  NoisedBatch batch;
  std::vector<std::uint8_t> dropped;
  for (std::int64_t n = 0; n < x0.size(0); ++n) {
    const std::int64_t i = context.first_in_batch + n;
    const DrawnLevel drawn = levels->draw(*model.parameterisation.schedule, context, i);
    batch.levels.push_back(drawn.level);
    for (std::int64_t k = 1; is_apart && k < x0.size(2); ++k) {
      StepContext own = context;
      own.seed += static_cast<std::uint64_t>(k) * kNextPosition;
      batch.levels.push_back(levels(*model.parameterisation.schedule, own, i));
    }
    batch.importance.push_back(drawn.importance);
    batch.bins.push_back(drawn.bin);
    batch.samples.push_back(context.sample(i));
    const NoiseKey key{context.seed, Purpose::kTrainCondition, batch.samples.back(), 0, 0};
    dropped.push_back(uniform(key, 0) < condition_dropout);
  }
  const at::Tensor is_dropped = at::tensor(dropped, at::kByte).to(at::kBool).to(x0.device());
  const Condition null = model.unconditional(condition);
  for (const auto& [name, tensor] : condition) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(tensor.dim()), 1);
    shape[0] = tensor.size(0);
    batch.condition[name] = at::where(is_dropped.reshape(shape), null.at(name), tensor);
  }
  batch.eps = training_noise(x0, context.seed, batch.samples);
  return batch;
}

void expect_serves(const Objective& objective, const Model& model) {
  if (objective.learns_variance() && !model.parameterisation.learns_variance)
    throw ConfigError(
        "objective.variance: \"learned\" needs a backbone with twice the channels of the data in its output; set "
        "backbone.learns_variance: true.");
  if (!objective.learns_variance() && model.parameterisation.learns_variance)
    throw ConfigError(
        "backbone.learns_variance: the objective trains no variance; use objective \"denoising\" with variance: "
        "learned.");
}

at::Tensor huber_of_samples(const at::Tensor& mean_square_N, double c) {
  return (mean_square_N + c * c).sqrt() - c;
}

at::Tensor distance_of(const at::Tensor& error, Distance distance, double c) {
  const at::Tensor square = error.square();
  switch (distance) {
    case Distance::kSquared:
      return square;
    case Distance::kHuber: {
      const at::Tensor size = error.abs();
      return at::where(size <= c, square, size * (2.0 * c) - c * c);
    }
    case Distance::kPseudoHuber:
      // The form without a difference: sqrt(e^2 + c^2) - c cancels where e is far below c.
      return square * (2.0 * c) / ((square + c * c).sqrt() + c);
  }
  throw Error(ExitCode::kBug, "distance_of: unknown distance");
}

}  // namespace thaw
