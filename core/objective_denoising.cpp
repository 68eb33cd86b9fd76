// Denoising score matching, with what papers add to it.

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/likelihood.h"
#include "core/math/philox.h"
#include "core/math/posterior.h"
#include "core/objective.h"
#include "core/uncertainty.h"

namespace thaw {

namespace {

// Draws at Purpose::kTrainNoise; 0 is eps.
constexpr std::uint32_t kOffsetDraw = 1, kPerturbationDraw = 2;
// Draws at Purpose::kTrainCondition: 0 is the dropout, consistency objectives use 1.
constexpr std::uint32_t kSelfConditioningDraw = 2;

/// skip x + out F, each sample at its own level.
at::Tensor estimate_from(const Model& model, const at::Tensor& x, const at::Tensor& output,
                         std::span<const Level> levels) {
  const Parameterisation& p = model.parameterisation;
  std::vector<double> skip, out;
  for (const Level& level : levels) {
    const Scalings k = scalings(p.prediction, level, p.schedule->path(), p.sigma_data);
    skip.push_back(k.skip);
    out.push_back(k.out);
  }
  return x * per_sample(skip, x) + output * per_sample(out, x);
}

at::Tensor prediction_part(const Model& model, const at::Tensor& output) {
  return model.parameterisation.learns_variance ? output.chunk(2, 1)[0] : output;
}

at::Tensor on_device(const std::vector<double>& values, const at::Tensor& like) {
  return at::tensor(values, at::kDouble).to(like.device(), at::kFloat);
}

// The index of a table's level, or -1 between two of them.
std::int64_t timestep_of(const Schedule& schedule, const Level& level) {
  constexpr double kRounding = 1e-6;  // of lambda and back
  const double t = schedule.time_of(level.lambda()), nearest = std::round(t);
  return std::abs(t - nearest) < kRounding ? static_cast<std::int64_t>(nearest) : -1;
}

}  // namespace

DenoisingObjective::DenoisingObjective(WeightingPtr weighting, LevelSampler levels, DenoisingOptions options)
    : weighting_(std::move(weighting)), levels_(std::move(levels)), options_(options) {
  constexpr std::uint64_t kAnySeed = 0;  // it starts at zero
  if (options_.learns_uncertainty) uncertainty_ = std::make_shared<LearnedUncertainty>(kAnySeed);
}

void DenoisingObjective::prepare(const Model& model) {
  const Schedule& schedule = *model.parameterisation.schedule;
  levels_->prepare(schedule, model.device);
  if (uncertainty_) uncertainty_->to(model.device);
  if (options_.is_apart && !model.backbone->takes_parts())
    throw ConfigError(
        "objective.levels_of: \"parts\" needs a backbone that takes a level for each part of a sample, such as "
        "\"unet3d\".");
  if (!options_.learns_variance) {
    levels_(schedule, {}, 0);
    return;
  }
  if (schedule.discrete_steps() == 0)
    throw ConfigError(
        concat("objective.variance: \"learned\" lies between two neighbours of a schedule's table, and \"",
               schedule.name(), "\" is continuous. Use schedule \"linear\" or \"squaredcos\"."));
  constexpr std::int64_t kTried = 16;
  for (std::int64_t i = 0; i < kTried; ++i)
    if (timestep_of(schedule, levels_(schedule, {.seed = 1, .batch = kTried}, i)) < 0)
      throw ConfigError(
          "objective.levels: a learned variance is trained at the timesteps of the table; use \"timesteps\" or "
          "\"loss_second_moment\".");
}

NamedTensors DenoisingObjective::parameters() const {
  return uncertainty_ ? uncertainty_->parameters() : NamedTensors{};
}

at::Tensor DenoisingObjective::loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                                    const StepContext& context) const {
  NoisedBatch batch =
      noised_batch(model, x0, condition, levels_, options_.condition_dropout, context, options_.is_apart);
  if (options_.offset_noise > 0.0) {
    std::vector<std::int64_t> shared = x0.sizes().vec();
    std::fill(shared.begin() + std::min<std::ptrdiff_t>(2, x0.dim()), shared.end(), 1);
    batch.eps = batch.eps + options_.offset_noise * training_noise(at::empty(shared, x0.options()), context.seed,
                                                                   batch.samples, kOffsetDraw);
  }
  const Ends ends{x0, batch.eps, noised(x0, perturbed(batch, x0, context.seed), batch.levels)};
  if (model.backbone->takes_estimate() &&
      uniform({context.seed, Purpose::kTrainCondition, context.step, kSelfConditioningDraw, 0}, 0) <
          options_.self_conditioning) {
    // Chen et al. 2023 (Analog Bits), algorithm 1: the first estimate is an input, not a way back.
    const c10::NoGradGuard no_grad;
    const at::Tensor output = model.output(ends.x, batch.levels, batch.condition);
    batch.condition["estimate"] = estimate_from(model, ends.x, prediction_part(model, output), batch.levels);
  }
  at::Tensor losses = weighted(model, ends, batch.condition, batch.levels);
  note(batch, losses, context);
  if (uncertainty_) {
    const at::Tensor u = (*uncertainty_)(batch.levels);
    losses = losses * (-u).exp() + u;
  }
  const bool is_plain =
      std::all_of(batch.importance.begin(), batch.importance.end(), [](double w) { return w == 1.0; });
  return is_plain ? losses : losses * on_device(batch.importance, losses);
}

// Ning et al. 2023, algorithm 1: the input carries more noise than the target says.
at::Tensor DenoisingObjective::perturbed(const NoisedBatch& batch, const at::Tensor& x0, std::uint64_t seed) const {
  if (options_.input_perturbation == 0.0) return batch.eps;
  return batch.eps + options_.input_perturbation * training_noise(x0, seed, batch.samples, kPerturbationDraw);
}

void DenoisingObjective::note(const NoisedBatch& batch, const at::Tensor& losses, const StepContext& context) const {
  if (batch.bins.front() < 0) return;
  noted_.erase(noted_.lower_bound(context.first_in_batch), noted_.end());
  noted_[context.first_in_batch] = {batch.bins, losses.detach()};
}

void DenoisingObjective::updated(const Model&, const StepContext& done) {
  if (noted_.empty()) return;
  std::vector<std::int64_t> bins;
  std::vector<at::Tensor> losses;
  for (const auto& [first, part] : noted_) {
    bins.insert(bins.end(), part.bins.begin(), part.bins.end());
    losses.push_back(part.losses);
  }
  noted_.clear();
  levels_->observe(bins, at::cat(losses), done.step);
}

at::Tensor DenoisingObjective::loss_at(const Model& model, const at::Tensor& x0, const Condition& condition,
                                       std::span<const Level> levels, std::uint64_t seed,
                                       std::span<const std::uint64_t> samples) const {
  return loss_between(model, x0, training_noise(x0, seed, samples), condition, levels);
}

at::Tensor DenoisingObjective::loss_between(const Model& model, const at::Tensor& x0, const at::Tensor& eps,
                                            const Condition& condition, std::span<const Level> levels) const {
  return weighted(model, {x0, eps, noised(x0, eps, levels)}, condition, levels);
}

at::Tensor DenoisingObjective::weighted(const Model& model, const Ends& ends, const Condition& condition,
                                        std::span<const Level> levels) const {
  const Parameterisation& p = model.parameterisation;
  std::vector<double> on_x0, on_eps, weight;
  for (const Level& level : levels) {
    const TargetWeights target = target_weights(p.prediction, level, p.schedule->path(), p.sigma_data);
    const Scalings k = scalings(p.prediction, level, p.schedule->path(), p.sigma_data);
    on_x0.push_back(target.on_x0);
    on_eps.push_back(target.on_eps);
    weight.push_back(weighting_->on_output_in_time(*p.schedule, level, k, p.sigma_data));
  }
  const at::Tensor target = ends.x0 * per_sample(on_x0, ends.x0) + ends.eps * per_sample(on_eps, ends.x0);
  const at::Tensor output = model.output(ends.x, levels, condition);
  const at::Tensor error = prediction_part(model, output) - target;
  const at::Tensor distance = distance_of(error, options_.distance, options_.huber);
  const std::int64_t n = ends.x0.size(0);
  const at::Tensor weight_N = on_device(weight, ends.x0);
  if (static_cast<std::int64_t>(levels.size()) != n)  // each position by its own weight
    return (distance.transpose(1, 2).flatten(2).mean(2) * weight_N.reshape({n, -1})).mean(1);
  const at::Tensor simple = distance.flatten(1).mean(1) * weight_N;
  if (!options_.learns_variance) return simple;
  return simple + options_.vlb_weight * bound_term(model, ends, output, levels);
}

// T L_t in bits a dimension, the mean stopped: Nichol and Dhariwal 2021, eq. 16 and their code.
at::Tensor DenoisingObjective::bound_term(const Model& model, const Ends& ends, const at::Tensor& output,
                                          std::span<const Level> levels) const {
  const Schedule& schedule = *model.parameterisation.schedule;
  const std::vector<at::Tensor> halves = output.chunk(2, 1);
  std::vector<BoundStep> steps;
  for (const Level& level : levels) {
    const std::int64_t t = timestep_of(schedule, level);
    steps.push_back(bound_step(schedule.at(static_cast<double>(std::max<std::int64_t>(t, 1))),
                               schedule.at(static_cast<double>(std::max<std::int64_t>(t, 1) - 1)), t == 0));
  }
  const at::Tensor estimate = estimate_from(model, ends.x, halves[0], levels).detach();
  const at::Tensor nats = bound_terms(ends.x0, estimate, halves[1], steps, options_.bin);
  const auto num_steps = static_cast<double>(schedule.discrete_steps());
  const auto dims = static_cast<double>(ends.x0.numel() / ends.x0.size(0));
  return (nats * (num_steps / (dims * std::numbers::ln2))).to(at::kFloat);
}

}  // namespace thaw
