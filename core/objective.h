#pragma once
// What training minimises.

#include <memory>

#include "core/dataset.h"
#include "core/math/weighting.h"
#include "core/model.h"

namespace thaw {

/// The place of a (part of a) batch in the training: every random number is a function of it.
struct StepContext {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::int64_t batch = 1;          // examples of the whole batch
  std::int64_t first_in_batch = 0;  // of the part at hand
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
};
using ObjectivePtr = std::shared_ptr<const Objective>;

/// The catalog's kinds an objective may name in its own sub-sections.
struct ObjectiveParts {
  const WeightingRegistry& weightings;
  const LevelSamplerRegistry& level_samplers;
};

using ObjectiveRegistry = Registry<ObjectivePtr, const ObjectiveParts&, const Config&>;
void register_objectives(ObjectiveRegistry& registry);

/// weight(level) mean (F - F*)^2: denoising score matching in the network's own output.
/// Vincent 2011; Ho et al. 2020; weights as in core/math/weighting.h.
class DenoisingObjective : public Objective {
 public:
  DenoisingObjective(WeightingPtr weighting, LevelSampler levels, double condition_dropout);
  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override;
  /// The same at given levels and with noise named by `samples` (validation).
  at::Tensor loss_at(const Model& model, const at::Tensor& x0, const Condition& condition,
                     std::span<const Level> levels, std::uint64_t seed,
                     std::span<const std::uint64_t> samples) const;

 private:
  WeightingPtr weighting_;
  LevelSampler levels_;
  double condition_dropout_;
};

}  // namespace thaw
