#include "core/objective.h"

#include <cmath>

#include <ATen/ATen.h>

#include "core/math/philox.h"

namespace thaw {

namespace {

// Low-discrepancy times: one uniform a batch, shifted by i / batch (Kingma et al. 2021, appendix I.1).
double stratified(const StepContext& context, std::int64_t i) {
  const double u = uniform({context.seed, Purpose::kTrainLevel, context.step, 0, 0}, 0);
  const double shifted = u + static_cast<double>(i) / static_cast<double>(context.batch);
  return shifted - std::floor(shifted);
}

double level_normal(const StepContext& context, std::int64_t i) {
  return normal({context.seed, Purpose::kTrainLevel, context.sample(i), 1, 0}, 0);
}

}  // namespace

void register_level_samplers(LevelSamplerRegistry& registry) {
  registry.add({{"uniform",
                 "Uniform in the schedule's time, one stratum an example.",
                 "Kingma et al. 2021, appendix I.1",
                 {},
                 {}},
                [](const Settings&) -> LevelSampler {
                  return [](const Schedule& schedule, const StepContext& context, std::int64_t i) {
                    const double u = stratified(context, i);
                    return schedule.at(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * u);
                  };
                }});
  registry.add(
      {{"log_normal",
        "ln(sigma / alpha) normal with a given mean and deviation.",
        "Karras et al. 2022, table 1",
        {{"mean", -1.2, "of ln(sigma / alpha)", -20.0, 20.0}, {"deviation", 1.2, "of ln(sigma / alpha)", 1e-6, 20.0}},
        {}},
       [](const Settings& settings) -> LevelSampler {
         const double mean = settings.number("mean"), deviation = settings.number("deviation");
         return [=](const Schedule& schedule, const StepContext& context, std::int64_t i) {
           return schedule.path().at(-(mean + deviation * level_normal(context, i)));
         };
       }});
  registry.add({{"logit_normal",
                 "t = sigmoid(normal), scaled to the schedule's time.",
                 "Esser et al. 2024, section 3.1",
                 {{"mean", 0.0, "of the logit", -20.0, 20.0}, {"deviation", 1.0, "of the logit", 1e-6, 20.0}},
                 {}},
                [](const Settings& settings) -> LevelSampler {
                  const double mean = settings.number("mean"), deviation = settings.number("deviation");
                  return [=](const Schedule& schedule, const StepContext& context, std::int64_t i) {
                    const double t = 1 / (1 + std::exp(-(mean + deviation * level_normal(context, i))));
                    return schedule.at(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * t);
                  };
                }});
}

at::Tensor training_noise(const at::Tensor& x0, std::uint64_t seed, std::span<const std::uint64_t> samples) {
  at::Tensor eps = at::empty(x0.sizes(), at::kFloat);
  const std::size_t num_elements = static_cast<std::size_t>(eps.numel()) / samples.size();
  for (std::size_t n = 0; n < samples.size(); ++n)
    fill_normal({eps.data_ptr<float>() + n * num_elements, num_elements},
                {seed, Purpose::kTrainNoise, samples[n], 0, 0});
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
                         const LevelSampler& levels, double condition_dropout, const StepContext& context) {
  NoisedBatch batch;
  std::vector<std::uint8_t> dropped;
  for (std::int64_t n = 0; n < x0.size(0); ++n) {
    const std::int64_t i = context.first_in_batch + n;
    batch.levels.push_back(levels(*model.parameterisation.schedule, context, i));
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

DenoisingObjective::DenoisingObjective(WeightingPtr weighting, LevelSampler levels, double condition_dropout)
    : weighting_(std::move(weighting)), levels_(std::move(levels)), condition_dropout_(condition_dropout) {}

at::Tensor DenoisingObjective::loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                                    const StepContext& context) const {
  const NoisedBatch batch = noised_batch(model, x0, condition, levels_, condition_dropout_, context);
  return loss_between(model, x0, batch.eps, batch.condition, batch.levels);
}

at::Tensor DenoisingObjective::loss_at(const Model& model, const at::Tensor& x0, const Condition& condition,
                                       std::span<const Level> levels, std::uint64_t seed,
                                       std::span<const std::uint64_t> samples) const {
  return loss_between(model, x0, training_noise(x0, seed, samples), condition, levels);
}

at::Tensor DenoisingObjective::loss_between(const Model& model, const at::Tensor& x0, const at::Tensor& eps,
                                            const Condition& condition, std::span<const Level> levels) const {
  const Parameterisation& p = model.parameterisation;
  std::vector<double> on_x0, on_eps, weight;
  for (const Level& level : levels) {
    const TargetWeights target = target_weights(p.prediction, level, p.schedule->path(), p.sigma_data);
    const Scalings k = scalings(p.prediction, level, p.schedule->path(), p.sigma_data);
    on_x0.push_back(target.on_x0);
    on_eps.push_back(target.on_eps);
    weight.push_back(weighting_->on_output(level, k, p.sigma_data));
  }
  const at::Tensor target = x0 * per_sample(on_x0, x0) + eps * per_sample(on_eps, x0);
  const at::Tensor error = model.output(noised(x0, eps, levels), levels, condition) - target;
  return error.square().flatten(1).mean(1) * at::tensor(weight, at::kDouble).to(x0.device(), at::kFloat);
}

}  // namespace thaw
