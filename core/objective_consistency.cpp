// Consistency models: two neighbouring states of one trajectory are told to have the same clean end.

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
#include "core/perceptual.h"

namespace thaw {

namespace {

/// How far apart the two states are, as the training goes on. In rho = sigma / alpha.
struct Pairs {
  std::string type;  // ratio, karras
  // ratio: Geng et al. 2024 (ECT), section 3.1 and appendix A: r / t = 1 - n(t) / q^a, a = 1 ... doublings, with
  // n(t) = 1 + k sigmoid(-b t); pairs that would reach below 0 take the data itself.
  double q = 2.0, k = 8.0, b = 1.0;
  std::int64_t doublings = 8;
  // karras: neighbours of a grid of s0 ... s1 intervals, even in rho^(1/7) between the schedule's ends. Growth: root is
  // that of Song et al. 2023 (consistency models), appendix C; doubling that of Song and Dhariwal 2023 (iCT), table 1.
  std::int64_t s0 = 2, s1 = 150;
  std::string growth;

  std::int64_t intervals(double progress) const {
    const auto first = static_cast<double>(s0), last = static_cast<double>(s1);
    if (growth == "doubling") {
      const double times = std::floor(std::log2(last / first)) + 1;
      return std::min(s0 << static_cast<std::int64_t>(std::floor(progress * times)), s1);
    }
    return static_cast<std::int64_t>(
        std::ceil(std::sqrt(progress * ((last + 1) * (last + 1) - first * first) + first * first) - 1));
  }

  struct Ends {
    double upper, lower;
  };
  /// The pair for a noise ratio drawn at random; `upper` may be moved onto the grid. lower 0: the clean end.
  Ends of(double rho, double progress, double rho_min, double rho_max) const {
    if (type == "ratio") {
      const double stage = 1.0 + std::floor(progress * static_cast<double>(doublings));
      const double width = (1.0 + k / (1.0 + std::exp(b * rho))) / std::pow(q, stage);
      return {rho, rho * std::max(0.0, 1.0 - width)};
    }
    constexpr double kPower = 1.0 / 7.0;
    const double low = std::pow(rho_min, kPower), high = std::pow(rho_max, kPower);
    const auto count = static_cast<double>(intervals(progress));
    const double place = std::clamp(std::ceil((std::pow(rho, kPower) - low) / (high - low) * count), 1.0, count);
    const auto at = [&](double i) { return std::pow(low + i / count * (high - low), 1.0 / kPower); };
    return {at(place), place == 1.0 ? 0.0 : at(place - 1)};
  }
};

struct ConsistencyOptions {
  Pairs pairs;
  std::string distance, weight;
  double perceptual_weight = 0.0;
  double huber = 0.0, target_decay = -1.0, condition_dropout = 0.0, largest_guidance = 1.0;
  int order = 1;
};

class ConsistencyObjective : public Objective {
 public:
  ConsistencyObjective(ConsistencyOptions options, LevelSampler levels, Teacher teacher, PerceptualDistance perceptual,
                       std::vector<std::filesystem::path> files)
      : options_(std::move(options)),
        levels_(std::move(levels)),
        teacher_(std::move(teacher)),
        perceptual_(std::move(perceptual)),
        files_(std::move(files)) {}

  void prepare(const Model& model) override {
    const Prediction prediction = model.parameterisation.prediction;
    if (prediction == Prediction::kData)
      throw ConfigError(
          "objective.prediction: \"data\" has no boundary where a clean state is its own answer; a "
          "consistency model needs v, velocity, edm, noise or score.");
    if (has_average()) target_.begin(model);
    if (options_.largest_guidance > 1.0 && !model.backbone->takes_guidance())
      throw ConfigError(
          "objective.largest_guidance: needs a backbone that is told a scale; set "
          "backbone.takes_guidance: true.");
    teacher_.prepare(model);
    perceptual_.prepare(model, "objective.perceptual");
  }
  std::vector<std::filesystem::path> files() const override { return files_; }
  NamedTensors state() const override { return target_.tensors(); }
  void updated(const Model& model, const StepContext&) override {
    if (has_average()) target_.follow(model, options_.target_decay);
  }

  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    NoisedBatch batch = noised_batch(model, x0, condition, levels_, options_.condition_dropout, context);
    std::vector<Level> lower;
    for (Level& upper : batch.levels) lower.push_back(pair_with(upper, model, context.progress()));
    const std::vector<double> scales = draw_guidance(model, batch, context);
    const at::Tensor x = noised(x0, batch.eps, batch.levels);
    const at::Tensor goal = target(model, x0, x, batch, lower, scales);
    const at::Tensor answer = estimate_x0(model, x, batch.levels, batch.condition);
    const at::Tensor loss = distance(answer - goal, model, batch.levels, lower);
    return perceptual_.is_used() ? loss + options_.perceptual_weight * perceptual_(answer, goal) : loss;
  }

 private:
  bool has_average() const { return options_.target_decay >= 0.0; }

  Level pair_with(Level& upper, const Model& model, double progress) const {
    const Schedule& schedule = *model.parameterisation.schedule;
    const double rho_min = schedule.at(schedule.t_min()).rho();
    const double rho_max = std::min(schedule.at(schedule.t_max()).rho(), 1e4);
    const Pairs::Ends ends = options_.pairs.of(std::min(upper.rho(), rho_max), progress, rho_min, rho_max);
    const Path& path = schedule.path();
    upper = path.at(-std::log(ends.upper));
    return ends.lower < 1e-3 * rho_min ? path.at(std::numeric_limits<double>::infinity())
                                       : path.at(-std::log(ends.lower));
  }

  // Scales even in [1, largest], which the student is told and the teacher is guided by. Luo et al. 2023 (LCM),
  // algorithm 1.
  std::vector<double> draw_guidance(const Model& model, NoisedBatch& batch, const StepContext& context) const {
    std::vector<double> scales;
    if (options_.largest_guidance <= 1.0) return scales;
    for (const std::uint64_t sample : batch.samples)
      scales.push_back(1.0 + (options_.largest_guidance - 1.0) *
                                 uniform({context.seed, Purpose::kTrainCondition, sample, 1, 0}, 0));
    batch.condition["guidance"] = at::tensor(scales, at::kDouble).to(model.device, weight_type(model.precision));
    return scales;
  }

  // The answer at the lower end: of the network itself, frozen; at the clean end, the state.
  at::Tensor target(const Model& model, const at::Tensor& x0, const at::Tensor& x, const NoisedBatch& batch,
                    const std::vector<Level>& lower, const std::vector<double>& scales) const {
    const c10::NoGradGuard no_grad;
    Condition told = batch.condition;
    told.erase("guidance");
    const at::Tensor state = teacher_.is_used()
                                 ? teacher_.step(model, x, batch.levels, lower, told, options_.order, scales)
                                 : noised(x0, batch.eps, lower);
    std::vector<double> is_clean;
    std::vector<Level> asked = lower;
    for (std::size_t n = 0; n < lower.size(); ++n) {
      is_clean.push_back(lower[n].is_clean());
      if (lower[n].is_clean()) asked[n] = batch.levels[n];  // answered, and not used
    }
    if (std::all_of(is_clean.begin(), is_clean.end(), [](double clean) { return clean == 1.0; })) return state;
    const auto answer = [&] { return estimate_x0(model, state, asked, batch.condition); };
    at::Tensor estimate;
    if (has_average()) {
      const SwappedWeights average(model.backbone->parameters().all(), target_.tensors());
      estimate = answer();
    } else {
      estimate = answer();
    }
    return at::where(per_sample(is_clean, x) > 0.5, state, estimate);
  }

  // squared: mean square. Weights: output makes the network's own output count alike at every level (1 / |out|, squared
  // for squares); step is 1 / (rho - rho'), the iCT's; uniform is 1.
  at::Tensor distance(const at::Tensor& difference, const Model& model, const std::vector<Level>& upper,
                      const std::vector<Level>& lower) const {
    const bool is_square = options_.distance == "squared";
    const Parameterisation& p = model.parameterisation;
    std::vector<double> weight;
    for (std::size_t n = 0; n < upper.size(); ++n) {
      double w = 1.0;
      if (options_.weight == "step") w = 1.0 / (upper[n].rho() - lower[n].rho());
      if (options_.weight == "output") {
        const double out = std::abs(scalings(p.prediction, upper[n], p.schedule->path(), p.sigma_data).out);
        w = is_square ? 1.0 / (out * out) : 1.0 / out;
      }
      weight.push_back(w);
    }
    const at::Tensor w = at::tensor(weight, at::kDouble).to(difference.device(), at::kFloat);
    const at::Tensor mean_square = difference.flatten(1).to(at::kFloat).square().mean(1);
    return (is_square ? mean_square : huber_of_samples(mean_square, options_.huber)) * w;
  }

  ConsistencyOptions options_;
  LevelSampler levels_;
  Teacher teacher_;
  PerceptualDistance perceptual_;
  std::vector<std::filesystem::path> files_;
  FrozenWeights target_;
};

/// What one name of the literature presets.
struct Preset {
  const char* name;
  const char* summary;
  const char* source;
  bool has_teacher;
  const char* pairs;
  const char* growth;
  std::int64_t s0, s1;
  const char* distance;
  double huber;
  const char* weight;
  double target_decay;
  double largest_guidance;
};

constexpr Preset kPresets[] = {
    {"consistency_training", "Consistency training as first published: averaged target, squared distance.",
     "Song et al. 2023 (consistency models), algorithm 3", false, "karras", "root", 2, 150, "squared", 0.0, "uniform",
     0.95, 1.0},
    {"consistency_distillation", "Consistency distillation: a teacher's step gives the lower state of each pair.",
     "Song et al. 2023 (consistency models), algorithm 2; frozen target and pseudo-Huber distance of iCT", true,
     "karras", "doubling", 8, 64, "huber", 0.00054, "output", -1.0, 1.0},
    {"improved_consistency_training", "iCT: frozen target, pseudo-Huber distance, doubling grid, weight 1 / step.",
     "Song and Dhariwal 2023, table 1", false, "karras", "doubling", 10, 1280, "huber", 0.00054, "step", -1.0, 1.0},
    {"easy_consistency_tuning", "ECT: starts as a diffusion model; the ratio of a pair's levels goes to 1.",
     "Geng et al. 2024 (ECT), section 3", false, "ratio", "doubling", 10, 1280, "huber", 0.00054, "output", -1.0, 1.0},
    {"latent_consistency", "LCM: consistency distillation of a guided teacher, the scale a condition of the student.",
     "Luo et al. 2023 (LCM), algorithm 1", true, "karras", "doubling", 50, 50, "huber", 0.001, "output", 0.95, 8.0}};

std::vector<Option> options_of(const Preset& preset) {
  std::vector<Option> options = parameterisation_options();
  for (Option& option : teacher_options(preset.has_teacher)) options.push_back(std::move(option));
  const std::vector<Option> own{
      {"order", std::int64_t{preset.has_teacher ? 2 : 1}, "of the teacher's step", 1, 2},
      {"pairs", std::string(preset.pairs), "how the two levels of a pair are chosen", 0, 0, {"ratio", "karras"}},
      {"q", 2.0, "ratio: base of the shrinking", 1.0001, 1e3},
      {"k", 8.0, "ratio: how much wider pairs are at little noise", 0.0, 1e3},
      {"b", 1.0, "ratio: how soon", 0.0, 1e3},
      {"doublings", std::int64_t{8}, "ratio: shrinkings over the training", 1, 60},
      {"s0", preset.s0, "karras: intervals at the start", 1, 1e6},
      {"s1", preset.s1, "karras: intervals at the end", 1, 1e6},
      {"growth", std::string(preset.growth), "karras: from s0 to s1", 0, 0, {"root", "doubling"}},
      {"distance", std::string(preset.distance), "between the two answers", 0, 0, {"squared", "huber"}},
      {"huber", preset.huber, "c of the pseudo-Huber distance, times the root of the number of elements", 0.0, 1e3},
      {"weight", std::string(preset.weight), "of a pair", 0, 0, {"output", "step", "uniform"}},
      {"perceptual", std::string(), "classifier between whose layers a further distance is taken: a folder"},
      {"perceptual_weight", 1.0, "of that distance", 0.0, 1e3},
      {"target_decay", preset.target_decay,
       "of the weights' average that answers at the lower end; -1: the weights "
       "themselves",
       -1.0, 0.999999},
      {"largest_guidance", preset.largest_guidance, "scales from 1 to this are drawn and told; 1: none", 1.0, 100.0}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

ObjectivePtr make(const Settings& settings, const ObjectiveParts& parts, const Config& section) {
  ConsistencyOptions options;
  options.pairs = {settings.text("pairs"), settings.number("q"),          settings.number("k"),
                   settings.number("b"),   settings.integer("doublings"), settings.integer("s0"),
                   settings.integer("s1"), settings.text("growth")};
  if (options.pairs.s1 < options.pairs.s0)
    settings.fail("s1", concat("must be at least s0 ", options.pairs.s0, ", got ", options.pairs.s1, "."));
  options.distance = settings.text("distance");
  options.weight = settings.text("weight");
  options.huber = settings.number("huber");
  options.target_decay = settings.number("target_decay");
  if (options.target_decay < 0.0 && options.target_decay != -1.0)
    settings.fail("target_decay", concat("must be -1 or in [0, 1), got ", options.target_decay, "."));
  options.condition_dropout = settings.number("condition_dropout");
  options.largest_guidance = settings.number("largest_guidance");
  options.order = static_cast<int>(settings.integer("order"));
  const std::string teacher = settings.text("teacher");
  if (teacher.empty() && options.largest_guidance > 1.0)
    settings.fail("largest_guidance", "needs a teacher to guide: objective.teacher.");
  options.perceptual_weight = settings.number("perceptual_weight");
  return std::make_shared<ConsistencyObjective>(
      options, parts.level_samplers.create(section.section("levels"), "uniform"), teacher_from(settings, parts),
      PerceptualDistance(settings.text("perceptual"), parts.open_model),
      used_files(settings, parts, {"teacher", "perceptual"}));
}

}  // namespace

void register_consistency_objectives(ObjectiveRegistry& registry) {
  for (const Preset& preset : kPresets)
    registry.add({{preset.name, preset.summary, preset.source, options_of(preset), {"few_step"}}, make, {"levels"}});
}

}  // namespace thaw
