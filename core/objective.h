#pragma once
// What training minimises.

#include <filesystem>
#include <functional>
#include <map>
#include <memory>

#include "core/dataset.h"
#include "core/level_samplers.h"
#include "core/math/weighting.h"
#include "core/model.h"

namespace thaw {

class Objective {
 public:
  virtual ~Objective() = default;
  /// Loss of each sample, [N] float32. x0 encoded, on the model's device.
  virtual at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                          const StepContext& context) const = 0;

  /// Before training: opens what it learns from, and throws ConfigError where it cannot train `model`.
  virtual void prepare(const Model&) {}
  /// Files it learns from: a finished training whose files have changed since is done again.
  virtual std::vector<std::filesystem::path> files() const { return {}; }
  /// True when it trains the second half of the output of a backbone that learns a variance.
  virtual bool learns_variance() const { return false; }
  /// Weights of its own, trained along with the model's.
  virtual NamedTensors parameters() const { return {}; }
  /// Tensors of its own that go on from step to step, live: checkpoints keep them.
  virtual NamedTensors state() const { return {}; }
  /// After the update of the weights that `done` names.
  virtual void updated(const Model&, const StepContext& /*done*/) {}
};
using ObjectivePtr = std::shared_ptr<Objective>;

/// Throws ConfigError where the objective and the backbone disagree about a learned variance.
void expect_serves(const Objective& objective, const Model& model);

/// Opens a model directory or a finished run, for the device and precision of the model under training.
using ModelOpener = std::function<std::shared_ptr<const Model>(const std::string& path)>;

/// The catalog's kinds an objective may name in its own sub-sections, and the models it may learn from.
struct ObjectiveParts {
  const WeightingRegistry& weightings;
  const LevelSamplerRegistry& level_samplers;
  ModelOpener open_model{};
  std::function<std::vector<std::filesystem::path>(const std::string& path)> model_files{};
};

using ObjectiveRegistry = Registry<ObjectivePtr, const ObjectiveParts&, const Config&>;
void register_objectives(ObjectiveRegistry& registry);

/// What the model under training is: options every objective of a denoiser has (the experiment reads them).
const std::vector<Option>& parameterisation_options();

/// A batch as most objectives need it, each number a function of (seed, step, place in the batch).
struct NoisedBatch {
  std::vector<Level> levels;
  std::vector<double> importance;  // what losses are multiplied by; 1 but for level samplers with that trait
  std::vector<std::int64_t> bins;  // where such a level sampler notes them
  std::vector<std::uint64_t> samples;
  at::Tensor eps;       // standard normal, of x0's shape
  Condition condition;  // null where it was dropped
};
/// `is_apart`: a level for each position of the first dimension behind the channels, independent of the others,
/// sample-major. The first ones are those that whole samples would have.
NoisedBatch noised_batch(const Model& model, const at::Tensor& x0, const Condition& condition,
                         const LevelSampler& levels, double condition_dropout, const StepContext& context,
                         bool is_apart = false);

/// alpha x0 + sigma eps, each sample, or position (per_sample), at its own level.
at::Tensor noised(const at::Tensor& x0, const at::Tensor& eps, std::span<const Level> levels);
/// Standard normals [N, ...] named by `samples`, on x0's device; `draw` tells several of one example apart.
at::Tensor training_noise(const at::Tensor& x0, std::uint64_t seed, std::span<const std::uint64_t> samples,
                          std::uint32_t draw = 0);

/// How the size of an error counts; every kind is the square where the error is small.
///   squared       e^2
///   huber         e^2 up to c, 2 c |e| - c^2 beyond                      Huber 1964
///   pseudo_huber  2 c (sqrt(e^2 + c^2) - c)                              Charbonnier et al. 1997
enum class Distance { kSquared, kHuber, kPseudoHuber };
at::Tensor distance_of(const at::Tensor& error, Distance distance, double c);

/// sqrt(m + c^2) - c of mean squares m [N]: the pseudo-Huber distance of whole samples. Song and Dhariwal 2023, eq. 8,
/// with the distance and their c over the root of the number of elements.
at::Tensor huber_of_samples(const at::Tensor& mean_square_N, double c);

struct DenoisingOptions {
  double condition_dropout = 0.0;
  double offset_noise = 0.0;        // deviation of a normal that all of a channel shares
  double input_perturbation = 0.0;  // deviation of noise in the input that the target does not know
  Distance distance = Distance::kSquared;
  double huber = 1.0;
  double self_conditioning = 0.5;  // share of steps that see an estimate, where the backbone takes one
  bool learns_variance = false;
  double vlb_weight = 1e-3;
  double bin = 0.0;  // width of the bins of quantised data, for the last step of the bound
  bool learns_uncertainty = false;
  bool is_apart = false;  // positions of a sample are at levels of their own (Chen et al. 2024, Diffusion forcing)
};

/// weight(level) mean (F - F*)^2: denoising score matching in the network's own output.
/// Vincent 2011; Ho et al. 2020; weights as in core/math/weighting.h.
class DenoisingObjective : public Objective {
 public:
  DenoisingObjective(WeightingPtr weighting, LevelSampler levels, DenoisingOptions options);
  DenoisingObjective(WeightingPtr weighting, LevelSampler levels, double condition_dropout)
      : DenoisingObjective(std::move(weighting), std::move(levels),
                           DenoisingOptions{.condition_dropout = condition_dropout}) {}

  void prepare(const Model& model) override;
  bool learns_variance() const override { return options_.learns_variance; }
  NamedTensors parameters() const override;
  NamedTensors state() const override { return levels_->state(); }
  void updated(const Model& model, const StepContext& done) override;

  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override;
  /// The same at given levels and with noise named by `samples` (validation); none of the extras, as none of the below.
  at::Tensor loss_at(const Model& model, const at::Tensor& x0, const Condition& condition,
                     std::span<const Level> levels, std::uint64_t seed, std::span<const std::uint64_t> samples) const;
  /// The same between given ends x0 and eps.
  at::Tensor loss_between(const Model& model, const at::Tensor& x0, const at::Tensor& eps, const Condition& condition,
                          std::span<const Level> levels) const;

 private:
  struct Ends {
    at::Tensor x0, eps, x;  // x: what the network sees
  };
  at::Tensor weighted(const Model& model, const Ends& ends, const Condition& condition,
                      std::span<const Level> levels) const;
  at::Tensor perturbed(const NoisedBatch& batch, const at::Tensor& x0, std::uint64_t seed) const;
  at::Tensor bound_term(const Model& model, const Ends& ends, const at::Tensor& output,
                        std::span<const Level> levels) const;
  void note(const NoisedBatch& batch, const at::Tensor& losses, const StepContext& context) const;

  WeightingPtr weighting_;
  LevelSampler levels_;
  DenoisingOptions options_;
  std::shared_ptr<class LearnedUncertainty> uncertainty_;  // null: none
  // Losses of the step so far, by the first example of the part: what a retried part says replaces what it said.
  struct Noted {
    std::vector<std::int64_t> bins;
    at::Tensor losses;
  };
  mutable std::map<std::int64_t, Noted> noted_;
};

}  // namespace thaw
