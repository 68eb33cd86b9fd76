#pragma once
// What objectives of few-step models are made of: the map a network stands for, teachers, frozen copies.

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/objective.h"

namespace thaw {

/// The x0 estimate of a batch, each sample at its own level; differentiable. Boundary: at a clean level it is x / alpha
/// whatever the network says, for every prediction but "data".
at::Tensor estimate_x0(const Model& model, const at::Tensor& x, std::span<const Level> levels,
                       const Condition& condition, std::span<const Level> targets = {});

/// The deterministic ddim step of a batch: x at `from` with estimates x0 becomes x at `to`.
/// Song et al. 2021 (DDIM), eq. 12 with eta 0.
at::Tensor moved(const at::Tensor& x, const at::Tensor& x0, std::span<const Level> from, std::span<const Level> to);

/// X(x) = on_x x + on_output F: where a network's raw output F takes x, on the way from a level to a cleaner one: the
/// ddim step of its x0 estimate. Linear path and velocity: x - (t - s) F.
struct MapWeights {
  double on_x = 1.0;
  double on_output = 0.0;
};
MapWeights map_weights(const Parameterisation& parameterisation, const Level& from, const Level& to);

/// The flow map of a network that is told where it goes; differentiable.
at::Tensor mapped(const Model& model, const at::Tensor& x, std::span<const Level> from, std::span<const Level> to,
                  const Condition& condition);

/// A frozen model that is learned from.
class Teacher {
 public:
  /// guidance: scale of classifier-free guidance in its estimates; 1 for none.
  Teacher(std::string path, ModelOpener open, double guidance);

  bool is_used() const { return !path_.empty(); }
  /// Opens it. Throws ConfigError naming the `option` where its samples are of another shape or kind than the
  /// student's, or where it gives no x0 estimates that can be asked for.
  void prepare(const Model& student);
  /// x0 estimates; no gradient, no dropout. x on the student's path, which may be another than the teacher's. `scales`
  /// are guidance scales, one a sample, in place of the one given.
  at::Tensor x0(const Model& student, const at::Tensor& x, std::span<const Level> levels, const Condition& condition,
                std::span<const double> scales = {}) const;
  /// Its solution of the probability-flow equation after one step: order 1 is ddim's; order 2 takes the mean of the
  /// estimates at both ends, which asks twice.
  at::Tensor step(const Model& student, const at::Tensor& x, std::span<const Level> from, std::span<const Level> to,
                  const Condition& condition, int order, std::span<const double> scales = {}) const;

 private:
  std::string path_;
  ModelOpener open_;
  double guidance_;
  std::shared_ptr<const Model> model_;
};

/// A copy of the student's weights that stands in for it under no gradient: an average, or what it was at some step.
class FrozenWeights {
 public:
  void begin(const Model& model);
  /// average = decay average + (1 - decay) weights; decay 0 copies.
  void follow(const Model& model, double decay);
  const NamedTensors& tensors() const { return tensors_; }

 private:
  NamedTensors tensors_;
};

/// A second level of the same example, independent of the first.
Level second_level(const Model& model, const LevelSampler& levels, const StepContext& context, std::int64_t i);

/// Adds what registers itself under each heading; ObjectiveParts::open_model must be set where a teacher is named.
void register_consistency_objectives(ObjectiveRegistry& registry);
void register_flow_map_objectives(ObjectiveRegistry& registry);
void register_halving_objectives(ObjectiveRegistry& registry);
void register_reflow_objective(ObjectiveRegistry& registry);
void register_direct_distillation(ObjectiveRegistry& registry);
void register_autoencoding_objective(ObjectiveRegistry& registry);
void register_classification_objective(ObjectiveRegistry& registry);

/// Options of every objective that may learn from a teacher.
std::vector<Option> teacher_options(bool is_required);
Teacher teacher_from(const Settings& settings, const ObjectiveParts& parts);
/// The files of the models that these options name, where they name one.
std::vector<std::filesystem::path> used_files(const Settings& settings, const ObjectiveParts& parts,
                                              std::initializer_list<const char*> options);

}  // namespace thaw
