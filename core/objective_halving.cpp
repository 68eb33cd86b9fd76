// One step that does the work of two: shortcut models and progressive distillation.

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/few_step.h"
#include "core/math/philox.h"
#include "core/optimizer.h"

namespace thaw {

namespace {

/// The level a fraction u of the way through the schedule's time; 0 is the clean level.
Level level_at(const Schedule& schedule, double u) {
  if (u <= 0.0) return schedule.path().at(std::numeric_limits<double>::infinity());
  return schedule.at(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * u);
}

struct Interval {
  Level from, middle, to;
};

// The output F for which one step from `from` to `to` ends at `end`.
at::Tensor output_that_ends_at(const Model& model, const at::Tensor& x, const at::Tensor& end,
                               const std::vector<Interval>& intervals) {
  std::vector<double> on_x, over_output;
  for (const Interval& i : intervals) {
    const MapWeights w = map_weights(model.parameterisation, i.from, i.to);
    on_x.push_back(-w.on_x / w.on_output);
    over_output.push_back(1.0 / w.on_output);
  }
  return end * per_sample(over_output, x) + x * per_sample(on_x, x);
}

struct Columns {
  std::vector<Level> from, middle, to;
};
Columns columns(const std::vector<Interval>& intervals) {
  Columns c;
  for (const Interval& i : intervals) {
    c.from.push_back(i.from);
    c.middle.push_back(i.middle);
    c.to.push_back(i.to);
  }
  return c;
}

/// Frans et al. 2024 (shortcut models), eq. 4 and 5: a step of length 2 d agrees with two of length d, of the network's
/// average; the rest of the batch learns the plain prediction.
class ShortcutObjective : public Objective {
 public:
  ShortcutObjective(std::int64_t finest, double share, double target_decay, double dropout)
      : finest_(finest), share_(share), target_decay_(target_decay), condition_dropout_(dropout) {}

  void prepare(const Model& model) override {
    if (!model.backbone->takes_target())
      throw ConfigError(
          "objective: shortcuts of several lengths need a backbone that is told where a step ends; set "
          "backbone.takes_target: true.");
    average_.begin(model);
  }
  NamedTensors state() const override { return average_.tensors(); }
  void updated(const Model& model, const StepContext&) override { average_.follow(model, target_decay_); }

  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    std::vector<Interval> intervals;
    std::vector<double> is_shortcut;
    const LevelSampler levels = [&](const Schedule& schedule, const StepContext& at, std::int64_t i) {
      const NoiseKey key{at.seed, Purpose::kTrainLevel, at.sample(i), 8, 0};
      // Every 1 / share-th example, so that each part of a batch has its share.
      const bool is_long = std::floor((i + 1) * share_) > std::floor(i * share_);
      std::int64_t count = std::int64_t{1} << finest_;
      if (is_long) count = std::int64_t{1} << uniform_integer(key, 0, static_cast<std::uint64_t>(finest_));
      const auto n = static_cast<double>(count);
      const double j = 1.0 + static_cast<double>(uniform_integer(key, 1, static_cast<std::uint64_t>(count)));
      const Level from = level_at(schedule, j / n);
      is_shortcut.push_back(is_long);
      intervals.push_back({from, level_at(schedule, (j - 0.5) / n), is_long ? level_at(schedule, (j - 1) / n) : from});
      return from;
    };
    const NoisedBatch batch = noised_batch(model, x0, condition, levels, condition_dropout_, context);
    const at::Tensor x = noised(x0, batch.eps, batch.levels);
    const at::Tensor goal = at::where(per_sample(is_shortcut, x) > 0.5, shortcut_goal(model, x, batch, intervals),
                                      plain_goal(model, x0, batch));
    const Columns c = columns(intervals);
    return (model.output(x, batch.levels, batch.condition, c.to) - goal).square().flatten(1).mean(1);
  }

 private:
  at::Tensor plain_goal(const Model& model, const at::Tensor& x0, const NoisedBatch& batch) const {
    const Parameterisation& p = model.parameterisation;
    std::vector<double> on_x0, on_eps;
    for (const Level& level : batch.levels) {
      const TargetWeights w = target_weights(p.prediction, level, p.schedule->path(), p.sigma_data);
      on_x0.push_back(w.on_x0);
      on_eps.push_back(w.on_eps);
    }
    return x0 * per_sample(on_x0, x0) + batch.eps * per_sample(on_eps, x0);
  }

  // Only of those that take a shortcut; the others' rows are 0 and not used.
  at::Tensor shortcut_goal(const Model& model, const at::Tensor& x, const NoisedBatch& batch,
                           const std::vector<Interval>& intervals) const {
    const c10::NoGradGuard no_grad;
    std::vector<std::int64_t> rows;
    std::vector<Interval> taken;
    for (std::size_t n = 0; n < intervals.size(); ++n)
      if (!(intervals[n].to == intervals[n].from)) {
        rows.push_back(static_cast<std::int64_t>(n));
        taken.push_back(intervals[n]);
      }
    at::Tensor goal = at::zeros_like(x);
    if (rows.empty()) return goal;
    const at::Tensor index = at::tensor(rows, at::kLong).to(x.device());
    Condition told;
    for (const auto& [name, tensor] : batch.condition) told[name] = tensor.index_select(0, index);
    const at::Tensor start = x.index_select(0, index);
    const Columns c = columns(taken);
    const SwappedWeights average(model.backbone->parameters().all(), average_.tensors());
    const at::Tensor half = mapped(model, start, c.from, c.middle, told);
    const at::Tensor end = mapped(model, half, c.middle, c.to, told);
    return goal.index_copy(0, index, output_that_ends_at(model, start, end, taken));
  }

  std::int64_t finest_;
  double share_, target_decay_, condition_dropout_;
  FrozenWeights average_;
};

/// Salimans and Ho 2022, algorithm 2: the student's ddim step does what two of its teacher's do; then it is the teacher
/// of the next, with half the steps. All halvings in one training, the same number of updates each.
class ProgressiveObjective : public Objective {
 public:
  ProgressiveObjective(std::int64_t first, std::int64_t last, double dropout, WeightingPtr weighting, Teacher teacher,
                       std::vector<std::filesystem::path> files)
      : first_(first),
        last_(last),
        condition_dropout_(dropout),
        weighting_(std::move(weighting)),
        teacher_(std::move(teacher)),
        files_(std::move(files)) {}

  void prepare(const Model& model) override {
    teacher_.prepare(model);
    student_.begin(model);
  }
  std::vector<std::filesystem::path> files() const override { return files_; }
  NamedTensors state() const override { return student_.tensors(); }
  void updated(const Model& model, const StepContext& done) override {
    StepContext next = done;
    ++next.step;
    if (halvings(next) > halvings(done)) student_.follow(model, 0.0);
  }

  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    const std::int64_t done = halvings(context);
    const std::int64_t steps = std::max<std::int64_t>(last_, first_ >> (done + 1));
    std::vector<Interval> intervals;
    const LevelSampler levels = [&](const Schedule& schedule, const StepContext& at, std::int64_t i) {
      const NoiseKey key{at.seed, Purpose::kTrainLevel, at.sample(i), 8, 0};
      const auto n = static_cast<double>(steps);
      const double j = 1.0 + static_cast<double>(uniform_integer(key, 0, static_cast<std::uint64_t>(steps)));
      intervals.push_back(
          {level_at(schedule, j / n), level_at(schedule, (j - 0.5) / n), level_at(schedule, (j - 1) / n)});
      return intervals.back().from;
    };
    const NoisedBatch batch = noised_batch(model, x0, condition, levels, condition_dropout_, context);
    const Columns c = columns(intervals);
    const at::Tensor x = noised(x0, batch.eps, batch.levels);
    const at::Tensor goal = output_that_ends_at(model, x, two_steps(model, x, c, batch.condition, done), intervals);
    const Parameterisation& p = model.parameterisation;
    std::vector<double> weight;
    for (const Level& level : batch.levels)
      weight.push_back(
          weighting_->on_output(level, scalings(p.prediction, level, p.schedule->path(), p.sigma_data), p.sigma_data));
    return (model.output(x, batch.levels, batch.condition) - goal).square().flatten(1).mean(1) *
           at::tensor(weight, at::kDouble).to(x.device(), at::kFloat);
  }

 private:
  std::int64_t halvings(const StepContext& context) const {
    const auto total = static_cast<double>(std::llround(std::log2(first_ / last_)));
    return static_cast<std::int64_t>(std::floor(std::min(context.progress(), 1.0 - 1e-12) * total));
  }

  at::Tensor two_steps(const Model& model, const at::Tensor& x, const Columns& c, const Condition& condition,
                       std::int64_t done) const {
    const c10::NoGradGuard no_grad;
    if (done == 0) {
      const at::Tensor half = teacher_.step(model, x, c.from, c.middle, condition, 1);
      return teacher_.step(model, half, c.middle, c.to, condition, 1);
    }
    const SwappedWeights earlier(model.backbone->parameters().all(), student_.tensors());
    const at::Tensor half = mapped(model, x, c.from, c.middle, condition);
    return mapped(model, half, c.middle, c.to, condition);
  }

  std::int64_t first_, last_;
  double condition_dropout_;
  WeightingPtr weighting_;
  Teacher teacher_;
  std::vector<std::filesystem::path> files_;
  FrozenWeights student_;
};

ObjectivePtr make_progressive(const Settings& settings, const ObjectiveParts& parts, const Config& section) {
  const std::int64_t first = settings.integer("first_steps"), last = settings.integer("last_steps");
  const auto is_power = [](std::int64_t n) { return (n & (n - 1)) == 0; };
  if (!is_power(first) || !is_power(last) || first <= last)
    settings.fail("first_steps", concat("first_steps and last_steps must be powers of 2, the first the larger, got ",
                                        first, " and ", last, "."));
  return std::make_shared<ProgressiveObjective>(first, last, settings.number("condition_dropout"),
                                                parts.weightings.create(section.section("weighting"), "uniform"),
                                                teacher_from(settings, parts),
                                                used_files(settings, parts, {"teacher"}));
}

}  // namespace

void register_halving_objectives(ObjectiveRegistry& registry) {
  std::vector<Option> shortcut = parameterisation_options();
  shortcut.push_back({"finest", std::int64_t{7}, "the shortest step is 1 / 2^finest of the schedule's time", 1, 20});
  shortcut.push_back({"share", 0.25, "of examples that learn a shortcut", 0.0, 1.0});
  shortcut.push_back({"target_decay", 0.99, "of the weights' average that takes the two half steps", 0.0, 0.999999});
  registry.add({{"shortcut",
                 "A network that is told the length of its step: two half steps teach a whole one.",
                 "Frans et al. 2024 (shortcut models), eq. 4 and 5",
                 shortcut,
                 {"few_step", "needs_target"}},
                [](const Settings& settings, const ObjectiveParts&, const Config&) -> ObjectivePtr {
                  return std::make_shared<ShortcutObjective>(settings.integer("finest"), settings.number("share"),
                                                             settings.number("target_decay"),
                                                             settings.number("condition_dropout"));
                }});
  std::vector<Option> progressive = parameterisation_options();
  for (Option& option : teacher_options(true)) progressive.push_back(std::move(option));
  progressive.push_back({"first_steps", std::int64_t{64}, "steps of the teacher; a power of 2", 2, 1 << 20});
  progressive.push_back({"last_steps", std::int64_t{1}, "steps of the last student; a power of 2", 1, 1 << 20});
  registry.add({{"progressive_distillation",
                 "One ddim step learns to do the work of two, again and again.",
                 "Salimans and Ho 2022, algorithm 2",
                 progressive,
                 {"few_step"}},
                make_progressive,
                {"weighting"}});
}

}  // namespace thaw
