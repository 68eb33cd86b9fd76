// Noise paired with what a teacher makes of it: rectified flow's second training, and the teacher's map in one step.

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/few_step.h"
#include "core/math/philox.h"
#include "core/perceptual.h"

namespace thaw {

namespace {

Level noisiest(const Schedule& schedule) {
  return schedule.at(schedule.t_max());
}

// The teacher's solution from sigma eps at the schedule's noisiest level, in second-order steps even in its time.
at::Tensor made_from(const Model& model, const Teacher& teacher, const at::Tensor& eps, const Condition& condition,
                     std::int64_t steps) {
  const Schedule& schedule = *model.parameterisation.schedule;
  const auto level_at = [&](std::int64_t i) {
    const double u = static_cast<double>(i) / static_cast<double>(steps);
    return i == 0 ? schedule.path().at(std::numeric_limits<double>::infinity())
                  : schedule.at(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * u);
  };
  const auto count = static_cast<std::size_t>(eps.size(0));
  at::Tensor x = eps * noisiest(schedule).sigma;
  for (std::int64_t i = steps; i > 0; --i) {
    const std::vector<Level> from(count, level_at(i)), to(count, level_at(i - 1));
    x = teacher.step(model, x, from, to, condition, 2);
  }
  return x;
}

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
    return denoising_.loss_between(model, made_from(model, teacher_, batch.eps, batch.condition, steps_), batch.eps,
                                   batch.condition, batch.levels);
  }

 private:
  DenoisingObjective denoising_;
  LevelSampler levels_;
  double condition_dropout_;
  std::int64_t steps_;
  Teacher teacher_;
  std::vector<std::filesystem::path> files_;
};

struct DirectOptions {
  std::int64_t steps = 16, pairs = 0;
  double huber = 0.00054, perceptual_weight = 1.0;
};

/// Luhman and Luhman 2021 (knowledge distillation in iterative generative models), eq. 7: one evaluation at the
/// noisiest level gives what the teacher's whole trajectory gives. Liu et al. 2024 (InstaFlow), eq. 6, with a
/// perceptual distance.
class DirectDistillation : public Objective {
 public:
  DirectDistillation(DirectOptions options, Teacher teacher, PerceptualDistance perceptual,
                     std::vector<std::filesystem::path> files)
      : options_(options), teacher_(std::move(teacher)), perceptual_(std::move(perceptual)), files_(std::move(files)) {}

  void prepare(const Model& model) override {
    teacher_.prepare(model);
    perceptual_.prepare(model, "objective.perceptual");
    if (options_.pairs == 0) return;
    std::vector<std::int64_t> shape = model.spec.shape;
    shape.insert(shape.begin(), options_.pairs);
    made_ = at::zeros(shape, at::TensorOptions(model.device).dtype(at::kHalf));
  }
  std::vector<std::filesystem::path> files() const override { return files_; }
  NamedTensors state() const override { return made_.defined() ? NamedTensors{{"pairs", made_}} : NamedTensors{}; }

  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    const auto [eps, goal, told] =
        made_.defined() ? kept_pairs(model, x0, condition, context) : new_pairs(model, x0, condition, context);
    const Level start = noisiest(*model.parameterisation.schedule);
    const std::vector<Level> levels(static_cast<std::size_t>(eps.size(0)), start);
    const at::Tensor answer = estimate_x0(model, eps * start.sigma, levels, told);
    const at::Tensor mean_square = (answer - goal).flatten(1).to(at::kFloat).square().mean(1);
    const at::Tensor loss = huber_of_samples(mean_square, options_.huber);
    return perceptual_.is_used() ? loss + options_.perceptual_weight * perceptual_(answer, goal) : loss;
  }

 private:
  struct Pairs {
    at::Tensor eps, made;
    Condition condition;
  };

  std::vector<std::uint64_t> samples(const at::Tensor& x0, const StepContext& context) const {
    std::vector<std::uint64_t> result;
    for (std::int64_t n = 0; n < x0.size(0); ++n) result.push_back(context.sample(context.first_in_batch + n));
    return result;
  }

  Pairs new_pairs(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const {
    const at::Tensor eps = training_noise(x0, context.seed, samples(x0, context));
    return {eps, made_from(model, teacher_, eps, condition, options_.steps), condition};
  }

  // Rows of the store are functions of (seed, row) but for the rounding of the teacher: its batch is the trainer's, so
  // that they are saved with the weights.
  Pairs kept_pairs(const Model& model, const at::Tensor& x0, const Condition& condition,
                   const StepContext& context) const {
    const auto pairs = static_cast<std::uint64_t>(options_.pairs);
    if (pairs % static_cast<std::uint64_t>(context.batch) != 0)
      throw ConfigError(
          concat("objective.pairs: must be a multiple of train.batch ", context.batch, ", got ", pairs, "."));
    for (const auto& [name, tensor] : condition)
      if (name != "label")
        throw ConfigError(concat("objective.pairs: are made for labels alone; this data is conditioned on ", name,
                                 ". Use pairs: 0, which are made for each batch anew."));
    const bool is_first_pass = context.sample(context.first_in_batch) < pairs;
    std::vector<std::uint64_t> rows = samples(x0, context);
    std::vector<std::int64_t> labels;
    for (std::uint64_t& row : rows) {
      row %= pairs;
      const NoiseKey key{context.seed, Purpose::kTrainCondition, row, 2, 0};
      labels.push_back(static_cast<std::int64_t>(
          uniform_integer(key, 0, static_cast<std::uint64_t>(std::max<std::int64_t>(1, model.spec.num_classes)))));
    }
    Condition told = condition;
    if (const auto label = told.find("label"); label != told.end())
      label->second = at::tensor(labels, at::kLong).to(x0.device());
    const at::Tensor eps = training_noise(x0, context.seed, rows);
    at::Tensor kept = made_.narrow(0, static_cast<std::int64_t>(rows.front()), x0.size(0));
    if (is_first_pass) kept.copy_(made_from(model, teacher_, eps, told, options_.steps));
    return {eps, kept.to(x0.scalar_type()), told};
  }

  DirectOptions options_;
  Teacher teacher_;
  PerceptualDistance perceptual_;
  std::vector<std::filesystem::path> files_;
  at::Tensor made_;  // [pairs, ...] in half precision
};

}  // namespace

void register_direct_distillation(ObjectiveRegistry& registry) {
  std::vector<Option> options;
  for (const Option& option : parameterisation_options())
    if (option.name != "condition_dropout") options.push_back(option);
  for (Option& option : teacher_options(true)) options.push_back(std::move(option));
  const std::vector<Option> own{
      {"steps", std::int64_t{16}, "of the teacher from noise to data, two calls each", 1, 1e4},
      {"pairs", std::int64_t{0}, "made once and used again, of labels drawn evenly; 0: new ones for each batch", 0,
       1e7},
      {"huber", 0.00054, "c of the pseudo-Huber distance, of the root mean square", 0.0, 1e3},
      {"perceptual", std::string(), "classifier between whose layers a further distance is taken: a folder"},
      {"perceptual_weight", 1.0, "of that distance", 0.0, 1e3}};
  options.insert(options.end(), own.begin(), own.end());
  registry.add({{"direct_distillation",
                 "One evaluation learns where the teacher's trajectory from the same noise ends.",
                 "Luhman and Luhman 2021, eq. 7; Liu et al. 2024 (InstaFlow), eq. 6",
                 options,
                 {"few_step"}},
                [](const Settings& settings, const ObjectiveParts& parts, const Config&) -> ObjectivePtr {
                  return std::make_shared<DirectDistillation>(
                      DirectOptions{settings.integer("steps"), settings.integer("pairs"), settings.number("huber"),
                                    settings.number("perceptual_weight")},
                      teacher_from(settings, parts), PerceptualDistance(settings.text("perceptual"), parts.open_model),
                      used_files(settings, parts, {"teacher", "perceptual"}));
                }});
}

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
                      used_files(settings, parts, {"teacher"}));
                },
                {"weighting", "levels"}});
}

}  // namespace thaw
