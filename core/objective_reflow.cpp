// Rectified flow's second training: noise is paired with what a teacher makes of it, so that paths become straight.

#include <limits>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/few_step.h"

namespace thaw {

namespace {

/// Liu et al. 2023 (rectified flow), algorithm 1 with k = 1: (Z0, Z1) of the teacher's own flow in place of (X0, X1).
class ReflowObjective : public Objective {
 public:
  ReflowObjective(WeightingPtr weighting, LevelSampler levels, double dropout, std::int64_t steps, Teacher teacher,
                  std::vector<std::filesystem::path> files)
      : denoising_(std::move(weighting), levels, dropout),
        levels_(std::move(levels)),
        condition_dropout_(dropout),
        steps_(steps),
        teacher_(std::move(teacher)),
        files_(std::move(files)) {}

  void prepare(const Model& model) override { teacher_.prepare(model); }
  std::vector<std::filesystem::path> files() const override { return files_; }

  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    const NoisedBatch batch = noised_batch(model, x0, condition, levels_, condition_dropout_, context);
    return denoising_.loss_between(model, made_from(model, batch), batch.eps, batch.condition, batch.levels);
  }

 private:
  at::Tensor made_from(const Model& model, const NoisedBatch& batch) const {
    const Schedule& schedule = *model.parameterisation.schedule;
    const auto level_at = [&](std::int64_t i) {
      const double u = static_cast<double>(i) / static_cast<double>(steps_);
      return i == 0 ? schedule.path().at(std::numeric_limits<double>::infinity())
                    : schedule.at(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * u);
    };
    at::Tensor x = batch.eps * level_at(steps_).sigma;
    for (std::int64_t i = steps_; i > 0; --i) {
      const std::vector<Level> from(batch.levels.size(), level_at(i)), to(batch.levels.size(), level_at(i - 1));
      x = teacher_.step(model, x, from, to, batch.condition, 2);
    }
    return x;
  }

  DenoisingObjective denoising_;
  LevelSampler levels_;
  double condition_dropout_;
  std::int64_t steps_;
  Teacher teacher_;
  std::vector<std::filesystem::path> files_;
};

}  // namespace

void register_reflow_objective(ObjectiveRegistry& registry) {
  std::vector<Option> options = parameterisation_options();
  for (Option& option : teacher_options(true)) options.push_back(std::move(option));
  options.push_back({"steps", std::int64_t{16}, "of the teacher from noise to data, two calls each", 1, 1e4});
  registry.add({{"reflow",
                 "Denoising between noise and what the teacher makes of it: straighter paths, fewer steps.",
                 "Liu et al. 2023 (rectified flow), algorithm 1",
                 options,
                 {"few_step"}},
                [](const Settings& settings, const ObjectiveParts& parts, const Config& section) -> ObjectivePtr {
                  return std::make_shared<ReflowObjective>(
                      parts.weightings.create(section.section("weighting"), "uniform"),
                      parts.level_samplers.create(section.section("levels"), "uniform"),
                      settings.number("condition_dropout"), settings.integer("steps"), teacher_from(settings, parts),
                      teacher_files(settings, parts));
                },
                {"weighting", "levels"}});
}

}  // namespace thaw
