// Flow maps learned from the equation they obey: MeanFlow, and consistency models in continuous time.
//
// X(x, t, s) = a(t, s) x + b(t, s) F(x, t, s) takes x at t to s along the probability-flow equation; so it does not
// change as x moves along its own trajectory:
//   0 = dX/dt = a' x + a v + b' F + b dF/dt,   v = dx/dt, ' = d/dt, dF/dt along (v, 1, 0) in (x, t, s).
// Linear path and velocity: a = 1, b = -(t - s): F = v - (t - s) dF/dt, Geng et al. 2025 (MeanFlow), eq. 6.
// Variance-preserving path and v, s = 0: cos t (v - F) - sin t (x + dF/dt) = 0, Lu and Song 2024 (sCM), eq. 6.
// The network is moved by the residual dX/dt, of which everything on the right is held fixed.

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/few_step.h"
#include "core/jvp.h"
#include "core/math/philox.h"

namespace thaw {

namespace {

struct FlowMapOptions {
  bool ends_clean = false;   // s is the clean level always
  double share_same = 0.75;  // of examples with s = t: plain denoising
  double power = 1.0, floor = 1e-3;
  double warmup = 0.0;  // share of the training over which all but the plain part grows from 0
  double condition_dropout = 0.0;
};

/// Numbers of one example on the host, in double.
struct Derivatives {
  MapWeights map, slope;  // a, b and their derivatives
  Scalings scalings;
  double in_slope = 0.0, noise_slope = 0.0;
  PathSlope path;
};

Derivatives derivatives(const Parameterisation& p, const Level& from, const Level& to) {
  constexpr double kStep = 1e-5;  // of the path's own time; central differences in double: 1e-10 of the value
  const Path& path = p.schedule->path();
  const PathSlope slope = path.slope(from);
  const auto at = [&](double h) { return Level{from.alpha + h * slope.alpha, from.sigma + h * slope.sigma}; };
  const Level before = at(-kStep), after = at(kStep);
  const auto difference = [](double later, double earlier) { return (later - earlier) / (2 * kStep); };
  const MapWeights w0 = map_weights(p, before, to), w1 = map_weights(p, after, to);
  const Scalings k0 = scalings(p.prediction, before, path, p.sigma_data),
                 k1 = scalings(p.prediction, after, path, p.sigma_data);
  return {map_weights(p, from, to),
          {difference(w1.on_x, w0.on_x), difference(w1.on_output, w0.on_output)},
          scalings(p.prediction, from, path, p.sigma_data),
          difference(k1.in, k0.in),
          difference(p.noise_number(after), p.noise_number(before)),
          slope};
}

class FlowMapObjective : public Objective {
 public:
  FlowMapObjective(FlowMapOptions options, LevelSampler levels, Teacher teacher,
                   std::vector<std::filesystem::path> files)
      : options_(options), levels_(std::move(levels)), teacher_(std::move(teacher)), files_(std::move(files)) {}

  void prepare(const Model& model) override {
    if (!options_.ends_clean && !model.backbone->takes_target())
      throw ConfigError(
          "objective: a flow map between any two levels needs a backbone that is told where it goes; set "
          "backbone.takes_target: true.");
    if (model.parameterisation.conditioning == Conditioning::kTimestep &&
        model.parameterisation.schedule->discrete_steps() > 0)
      throw ConfigError(
          "objective.conditioning: a flow map is differentiated by the number the network is told; the "
          "timesteps of a table have corners. Use \"angle\" or \"lambda\".");
    teacher_.prepare(model);
  }
  std::vector<std::filesystem::path> files() const override { return files_; }

  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    NoisedBatch batch = noised_batch(model, x0, condition, levels_, options_.condition_dropout, context);
    const std::vector<Level> to = choose_ends(model, batch, context);
    const at::Tensor x = noised(x0, batch.eps, batch.levels);
    const at::Tensor residual = flow_residual(model, x0, x, batch, to, context.progress());
    const at::Tensor output = model.output(x, batch.levels, batch.condition, to);
    const at::Tensor error = (output - (output.detach() + residual)).flatten(1).square().mean(1);
    // Geng et al. 2025, section 4.3: weights 1 / (|e|^2 + c)^p; p = 1/2 is the normalised tangent of Lu and Song 2024.
    return error / (error.detach() + options_.floor).pow(options_.power);
  }

 private:
  std::vector<Level> choose_ends(const Model& model, NoisedBatch& batch, const StepContext& context) const {
    std::vector<Level> to;
    for (std::size_t n = 0; n < batch.levels.size(); ++n) {
      Level& from = batch.levels[n];
      if (options_.ends_clean) {
        to.push_back(model.parameterisation.schedule->path().at(std::numeric_limits<double>::infinity()));
        continue;
      }
      Level other = second_level(model, levels_, context, context.first_in_batch + static_cast<std::int64_t>(n));
      if (other.lambda() < from.lambda()) std::swap(from, other);
      const NoiseKey key{context.seed, Purpose::kTrainLevel, batch.samples[n], 7, 0};
      to.push_back(uniform(key, 0) < options_.share_same ? from : other);
    }
    return to;
  }

  at::Tensor flow_residual(const Model& model, const at::Tensor& x0, const at::Tensor& x, const NoisedBatch& batch,
                           const std::vector<Level>& to, double progress) const {
    const c10::NoGradGuard no_grad;
    const Parameterisation& p = model.parameterisation;
    const std::size_t count = to.size();
    std::vector<double> on_x0, on_eps, a, b, a1, b1, in, in1, noise, noise1, alpha1, sigma1, target;
    for (std::size_t n = 0; n < count; ++n) {
      const Derivatives d = derivatives(p, batch.levels[n], to[n]);
      const TargetWeights w = target_weights(p.prediction, batch.levels[n], p.schedule->path(), p.sigma_data);
      on_x0.push_back(w.on_x0), on_eps.push_back(w.on_eps);
      a.push_back(d.map.on_x), b.push_back(d.map.on_output);
      a1.push_back(d.slope.on_x), b1.push_back(d.slope.on_output);
      in.push_back(d.scalings.in), in1.push_back(d.in_slope);
      noise.push_back(p.noise_number(batch.levels[n])), noise1.push_back(d.noise_slope);
      alpha1.push_back(d.path.alpha), sigma1.push_back(d.path.sigma);
      target.push_back(p.target_number(to[n]));
    }
    const auto each = [&](const std::vector<double>& values) { return per_sample(values, x); };
    // The ends of the trajectory through x: the data's own, or the teacher's.
    at::Tensor clean = x0, eps = batch.eps;
    if (teacher_.is_used()) {
      clean = teacher_.x0(model, x, batch.levels, batch.condition);
      std::vector<double> alpha, over_sigma;
      for (const Level& level : batch.levels) {
        alpha.push_back(level.alpha);
        over_sigma.push_back(1.0 / level.sigma);
      }
      eps = (x - clean * each(alpha)) * each(over_sigma);
    }
    const at::Tensor v = clean * each(alpha1) + eps * each(sigma1);
    const at::Tensor perfect = clean * each(on_x0) + eps * each(on_eps);
    const Dual f = moving_output(model, batch, x * each(in), x * each(in1) + v * each(in), noise, noise1, target);
    const at::Tensor residual = x * each(a1) + v * each(a) + f.value * each(b1) + f.tangent * each(b);
    if (options_.warmup <= 0.0) return residual;
    const double grown = std::min(1.0, progress / options_.warmup);  // Lu and Song 2024, section 4.1: r
    const at::Tensor plain = (f.value - perfect) * each(b1);
    return plain + (residual - plain) * grown;
  }

  Dual moving_output(const Model& model, const NoisedBatch& batch, const at::Tensor& scaled,
                     const at::Tensor& scaled_slope, const std::vector<double>& noise,
                     const std::vector<double>& noise_slope, const std::vector<double>& target) const {
    const c10::ScalarType type = weight_type(model.precision);
    const auto numbers = [&](const std::vector<double>& values) {
      return at::tensor(values, at::kDouble).to(model.device, type);
    };
    Condition seen = batch.condition;
    if (model.backbone->takes_target()) seen["target"] = numbers(target);
    if (model.backbone->takes_guidance()) seen["guidance"] = at::ones_like(numbers(target));
    // In bfloat16 a derivative would be mostly rounding; and autocast gives a convolution's tangent another type.
    const Precision precision = model.precision == Precision::kFloat64 ? Precision::kFloat64 : Precision::kFloat32;
    return derivative_along(
        [&](const std::vector<at::Tensor>& in) { return model.raw_output(in[0], in[1], seen, precision); },
        {scaled.to(type), numbers(noise)}, {scaled_slope.to(type), numbers(noise_slope)});
  }

  FlowMapOptions options_;
  LevelSampler levels_;
  Teacher teacher_;
  std::vector<std::filesystem::path> files_;
};

std::vector<Option> options_of(bool ends_clean) {
  std::vector<Option> options = parameterisation_options();
  for (Option& option : teacher_options(false)) options.push_back(std::move(option));
  if (!ends_clean)
    options.push_back({"share_same", 0.75, "of examples whose two levels are the same: plain denoising", 0.0, 1.0});
  options.push_back({"norm_power", ends_clean ? 0.5 : 1.0, "p of the weight 1 / (|residual|^2 + c)^p", 0.0, 2.0});
  options.push_back({"norm_floor", ends_clean ? 1e-2 : 1e-3, "c, of the mean square", 1e-12, 1e6});
  options.push_back({"warmup", ends_clean ? 0.2 : 0.0,
                     "share of the training over which all but the plain denoising part grows", 0.0, 1.0});
  return options;
}

ObjectivePtr make(const Settings& settings, const ObjectiveParts& parts, const Config& section, bool ends_clean) {
  FlowMapOptions options;
  options.ends_clean = ends_clean;
  if (!ends_clean) options.share_same = settings.number("share_same");
  options.power = settings.number("norm_power");
  options.floor = settings.number("norm_floor");
  options.warmup = settings.number("warmup");
  options.condition_dropout = settings.number("condition_dropout");
  return std::make_shared<FlowMapObjective>(options, parts.level_samplers.create(section.section("levels"), "uniform"),
                                            teacher_from(settings, parts), used_files(settings, parts, {"teacher"}));
}

}  // namespace

void register_flow_map_objectives(ObjectiveRegistry& registry) {
  registry.add({{"mean_flow",
                 "A flow map between any two levels, by the derivative of its own output; on every path.",
                 "Geng et al. 2025 (MeanFlow), eq. 6 to 11",
                 options_of(false),
                 {"few_step", "needs_target"}},
                [](const Settings& settings, const ObjectiveParts& parts, const Config& section) {
                  return make(settings, parts, section, false);
                },
                {"levels"}});
  registry.add({{"continuous_consistency",
                 "sCM: the limit of consistency training (or distillation, with a teacher) for steps of no length.",
                 "Lu and Song 2024 (sCM), eq. 6 and 8, section 4",
                 options_of(true),
                 {"few_step"}},
                [](const Settings& settings, const ObjectiveParts& parts, const Config& section) {
                  return make(settings, parts, section, true);
                },
                {"levels"}});
}

}  // namespace thaw
