#pragma once
// What training minimises.

#include <filesystem>
#include <functional>
#include <memory>

#include "core/dataset.h"
#include "core/math/weighting.h"
#include "core/model.h"

namespace thaw {

/// The place of a (part of a) batch in the training: every random number is a function of it.
struct StepContext {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::int64_t batch = 1;           // examples of the whole batch
  std::int64_t first_in_batch = 0;  // of the part at hand
  std::int64_t steps = 1;           // of the whole training

  /// In [0, 1), for what changes as training goes on.
  double progress() const { return static_cast<double>(step) / static_cast<double>(steps); }
  /// The name of example i of the batch in the whole training.
  std::uint64_t sample(std::int64_t i) const {
    return step * static_cast<std::uint64_t>(batch) + static_cast<std::uint64_t>(i);
  }
};

/// Noise levels of a batch: position i of `batch` at `step`.
using LevelSampler = std::function<Level(const Schedule&, const StepContext&, std::int64_t i)>;
using LevelSamplerRegistry = Registry<LevelSampler>;
void register_level_samplers(LevelSamplerRegistry& registry);

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
  /// Weights of its own, trained along with the model's.
  virtual NamedTensors parameters() const { return {}; }
  /// Tensors of its own that go on from step to step, live: checkpoints keep them.
  virtual NamedTensors state() const { return {}; }
  /// After the update of the weights that `done` names.
  virtual void updated(const Model&, const StepContext& /*done*/) {}
};
using ObjectivePtr = std::shared_ptr<Objective>;

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
  std::vector<std::uint64_t> samples;
  at::Tensor eps;       // standard normal, of x0's shape
  Condition condition;  // null where it was dropped
};
NoisedBatch noised_batch(const Model& model, const at::Tensor& x0, const Condition& condition,
                         const LevelSampler& levels, double condition_dropout, const StepContext& context);

/// alpha x0 + sigma eps, each sample at its own level.
at::Tensor noised(const at::Tensor& x0, const at::Tensor& eps, std::span<const Level> levels);
/// Standard normals [N, ...] named by `samples`, on x0's device.
at::Tensor training_noise(const at::Tensor& x0, std::uint64_t seed, std::span<const std::uint64_t> samples);

/// weight(level) mean (F - F*)^2: denoising score matching in the network's own output.
/// Vincent 2011; Ho et al. 2020; weights as in core/math/weighting.h.
class DenoisingObjective : public Objective {
 public:
  DenoisingObjective(WeightingPtr weighting, LevelSampler levels, double condition_dropout);
  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override;
  /// The same at given levels and with noise named by `samples` (validation).
  at::Tensor loss_at(const Model& model, const at::Tensor& x0, const Condition& condition,
                     std::span<const Level> levels, std::uint64_t seed, std::span<const std::uint64_t> samples) const;
  /// The same between given ends x0 and eps.
  at::Tensor loss_between(const Model& model, const at::Tensor& x0, const at::Tensor& eps, const Condition& condition,
                          std::span<const Level> levels) const;

 private:
  WeightingPtr weighting_;
  LevelSampler levels_;
  double condition_dropout_;
};

}  // namespace thaw
