// Cross entropy of classifiers, with the changes at random that leave the class of an example as it is.

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/few_step.h"
#include "core/math/philox.h"
#include "core/metrics/features.h"
#include "core/objective.h"

namespace thaw {

namespace {

struct RandomChanges {
  std::int64_t shift = 0;  // places a side, along the last two dimensions behind the channels
  double fill = -1.0;      // what moves in
  double gain_db = 0.0;
  double noise = 0.0;
};

constexpr std::uint32_t kPlaces = 0, kSizes = 1, kNoise = 2;  // draws of Purpose::kAugment

/// Cross entropy of changed examples, and of noise of random levels (Dhariwal and Nichol 2021, section 4.1) where
/// `levels` are given.
class ClassificationObjective : public Objective {
 public:
  ClassificationObjective(const RandomChanges& changes, LevelSampler levels)
      : changes_(changes), levels_(std::move(levels)) {}
  void prepare(const Model& model) override {
    const auto* classifier = dynamic_cast<const Classifier*>(model.backbone.get());
    if (levels_ && (classifier == nullptr || !classifier->takes_noise()))
      throw ConfigError("objective.noisy: needs a classifier that is told the noise; set backbone.takes_noise: true.");
  }
  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    const auto label = condition.find("label");
    if (label == condition.end()) throw DataError("objective \"classification\": the dataset has no labels.");
    const AutocastScope autocast(model.precision, model.device);
    const at::Tensor clean = changed(x0, context);
    const at::Tensor logits =
        levels_ ? noisy_logits(model, clean, condition, context) : model.backbone->forward(clean, {}, condition);
    return at::cross_entropy_loss(logits.to(at::kFloat), label->second, {}, 0 /* no reduction */);
  }

 private:
  at::Tensor noisy_logits(const Model& model, const at::Tensor& x0, const Condition& condition,
                          const StepContext& context) const {
    const NoisedBatch batch = noised_batch(model, x0, condition, levels_, 0.0, context);
    std::vector<double> numbers;
    for (const Level& level : batch.levels) numbers.push_back(model.parameterisation.noise_number(level));
    const at::Tensor noise_N = at::tensor(numbers, at::kDouble).to(model.device, weight_type(model.precision));
    return model.backbone->forward(noised(x0, batch.eps, batch.levels), noise_N, condition);
  }

  at::Tensor changed(const at::Tensor& x0, const StepContext& context) const {
    if (changes_.shift == 0 && changes_.gain_db == 0.0 && changes_.noise == 0.0) return x0;
    const std::int64_t moved = std::min<std::int64_t>(2, x0.dim() - 2);
    const std::vector<std::int64_t> sides(static_cast<std::size_t>(2 * moved), changes_.shift);
    const at::Tensor padded = at::constant_pad_nd(x0, sides, changes_.fill);
    std::vector<at::Tensor> all;
    for (std::int64_t n = 0; n < x0.size(0); ++n) {
      const std::uint64_t sample = context.sample(context.first_in_batch + n);
      all.push_back(resized(window(padded[n], x0[n], moved, {context.seed, Purpose::kAugment, sample, kPlaces, 0}),
                            context.seed, sample));
    }
    return at::stack(all);
  }

  // A part of what was padded, as large as it was before.
  at::Tensor window(at::Tensor padded, const at::Tensor& like, std::int64_t moved, const NoiseKey& key) const {
    const auto places = static_cast<std::uint64_t>(2 * changes_.shift + 1);
    for (std::int64_t i = 0; i < moved; ++i)
      padded = padded.narrow(i - moved,
                             static_cast<std::int64_t>(uniform_integer(key, static_cast<std::uint64_t>(i), places)),
                             like.size(i - moved));
    return padded;
  }

  at::Tensor resized(at::Tensor x, std::uint64_t seed, std::uint64_t sample) const {
    const NoiseKey sizes{seed, Purpose::kAugment, sample, kSizes, 0};
    if (changes_.gain_db > 0.0) x = x * std::pow(10.0, changes_.gain_db * (2.0 * uniform(sizes, 0) - 1.0) / 20.0);
    if (changes_.noise == 0.0) return x;
    at::Tensor noise = at::empty(x.sizes(), at::kFloat);
    fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())},
                {seed, Purpose::kAugment, sample, kNoise, 0});
    return x + noise.to(x.device()) * (changes_.noise * uniform(sizes, 1));
  }

  RandomChanges changes_;
  LevelSampler levels_;  // empty: clean data
};

}  // namespace

void register_classification_objective(ObjectiveRegistry& registry) {
  registry.add({{"classification",
                 "Cross entropy of a classifier's logits.",
                 "",
                 {{"shift", std::int64_t{2},
                   "places by which examples are moved at random, along their last two dimensions", 0, 65536},
                  {"fill", -1.0, "what moves in there: -1 is black, 0 is silence", -1.0, 1.0},
                  {"gain", 0.0, "decibels by which examples are made louder or softer at random", 0.0, 60.0},
                  {"noise", 0.0, "largest deviation of noise that is added", 0.0, 10.0},
                  {"noisy", false, "of noisy examples, at `levels`: for classifier guidance"}},
                 {"classifier"}},
                [](const Settings& settings, const ObjectiveParts& parts, const Config& section) -> ObjectivePtr {
                  LevelSampler levels = parts.level_samplers.create(section.section("levels"), "uniform");
                  if (!settings.flag("noisy")) levels = {};
                  return std::make_shared<ClassificationObjective>(
                      RandomChanges{settings.integer("shift"), settings.number("fill"), settings.number("gain"),
                                    settings.number("noise")},
                      std::move(levels));
                },
                {"levels"}});
}

}  // namespace thaw
