#pragma once
// At which noise levels a batch is trained.

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <ATen/core/Tensor.h>

#include "core/base/registry.h"
#include "core/math/schedule.h"
#include "core/nn/parameters.h"

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

struct DrawnLevel {
  Level level;
  double importance = 1.0;  // uniform density over the density drawn from: what the loss there is multiplied by
  std::int64_t bin = -1;    // of those that learn from losses: where the loss is noted
};

/// Noise levels of a batch: position i of the batch at a step.
class LevelSource {
 public:
  virtual ~LevelSource() = default;
  /// Throws ConfigError where the schedule does not serve.
  virtual DrawnLevel draw(const Schedule& schedule, const StepContext& context, std::int64_t i) const = 0;

  /// Before training, on the device that losses will come from.
  virtual void prepare(const Schedule&, const c10::Device&) {}
  /// Live; checkpoints keep it.
  virtual NamedTensors state() const { return {}; }
  /// After the update of a step: the losses [N] of the whole batch, without importance, on their device.
  virtual void observe(std::span<const std::int64_t> /*bins*/, const at::Tensor& /*losses*/, std::uint64_t /*step*/) {}
};

/// A handle; copies share the source.
class LevelSampler {
 public:
  LevelSampler() = default;
  LevelSampler(std::shared_ptr<LevelSource> source) : source_(std::move(source)) {}  // NOLINT: is the source
  /// Of a function of (schedule, context, i) that gives a Level.
  template <class F>
  requires std::is_invocable_r_v<Level, F, const Schedule&, const StepContext&, std::int64_t> LevelSampler(F level)
      : source_(std::make_shared<Function<F>>(std::move(level))) {}  // NOLINT

  Level operator()(const Schedule& schedule, const StepContext& context, std::int64_t i) const {
    return source_->draw(schedule, context, i).level;
  }
  explicit operator bool() const { return source_ != nullptr; }
  LevelSource* operator->() const { return source_.get(); }

 private:
  template <class F>
  struct Function : LevelSource {
    explicit Function(F given) : level(std::move(given)) {}
    DrawnLevel draw(const Schedule& schedule, const StepContext& context, std::int64_t i) const override {
      return {level(schedule, context, i)};
    }
    F level;
  };
  std::shared_ptr<LevelSource> source_;
};

/// The trait "importance": draws where losses are large and corrects for it; only objectives with the same trait take
/// the correction into their loss.
using LevelSamplerRegistry = Registry<LevelSampler>;
void register_level_samplers(LevelSamplerRegistry& registry);

}  // namespace thaw
