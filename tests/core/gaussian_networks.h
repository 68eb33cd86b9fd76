#pragma once
// Networks and objectives for Gaussian data N(0, s^2), whose flow multiplies x by the ratio of standard deviations.

#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include <ATen/ATen.h>

#include "core/few_step.h"
#include "core/math/philox.h"
#include "tests/catch.h"

namespace thaw::testing {

inline constexpr double kSpread = 0.6;

inline at::Tensor normals(at::IntArrayRef shape, std::uint64_t seed, at::ScalarType type = at::kDouble) {
  at::Tensor x = at::empty(shape);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther});
  return x.to(type);
}

inline double deviation(const Level& level) {
  return std::hypot(level.alpha * kSpread, level.sigma);
}

/// F = gain(noise, target) x, with a gain that is written down or learned.
class Gain : public Backbone {
 public:
  using Formula = std::function<at::Tensor(const at::Tensor& noise_N, const at::Tensor& target_N)>;
  Gain(bool takes_target, Formula formula, NamedTensors weights = {})
      : takes_target_(takes_target), formula_(std::move(formula)), parameters_(1) {
    for (const auto& [name, tensor] : weights) {
      at::Tensor weight = parameters_.add(name, tensor.sizes(), Init::zeros());
      at::Tensor values = weight.detach();
      values.copy_(tensor);
    }
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    const at::Tensor gain = formula_(noise, takes_target_ ? condition.at("target") : noise);
    return x * gain.reshape({-1, 1});
  }
  const Parameters& parameters() const override { return parameters_; }
  bool takes_target() const override { return takes_target_; }
  void use(Formula formula) { formula_ = std::move(formula); }

 private:
  bool takes_target_;
  Formula formula_;
  Parameters parameters_;
};

/// A teacher that knows x0.
class Exact : public Backbone {
 public:
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) const override { return x; }
  const Parameters& parameters() const override { return parameters_; }
  at::Tensor exact_x0(const at::Tensor& x, const Level& level) const override {
    return x * (level.alpha * kSpread * kSpread / (deviation(level) * deviation(level)));
  }

 private:
  Parameters parameters_{1};
};

inline SchedulePtr schedule(const char* name, const char* yaml = "{}") {
  ScheduleRegistry registry("schedule");
  register_schedules(registry);
  return registry.create(Config::parse(yaml, "t"), name);
}

inline Model model_of(std::unique_ptr<Backbone> backbone, SchedulePtr process, Prediction prediction,
                      Precision precision = Precision::kFloat64) {
  Parameterisation p;
  p.schedule = std::move(process);
  p.prediction = prediction;
  return Model{.spec = {{4}, 0},
               .parameterisation = p,
               .backbone = std::move(backbone),
               .device = c10::Device(c10::kCPU),
               .precision = precision};
}

inline ObjectivePtr objective(const char* name, const char* yaml) {
  ObjectiveRegistry registry("objective");
  register_objectives(registry);
  WeightingRegistry weightings("weighting");
  register_weightings(weightings);
  LevelSamplerRegistry levels("levels");
  register_level_samplers(levels);
  const ModelOpener open = [](const std::string& path) -> std::shared_ptr<const Model> {
    const bool is_wide = path == "wide";
    auto teacher = std::make_shared<Model>(model_of(std::make_unique<Exact>(), schedule("cosine"), Prediction::kV));
    if (is_wide) teacher->spec.shape = {9};
    return teacher;
  };
  const Config section = Config::parse(yaml, "t");
  return registry.create(section, name, {weightings, levels, open, {}}, section);
}

// The exact map's output as a function of the two angles: F = (X - a x) / b for X = x deviation(s) / deviation(t).
inline Gain::Formula exact_gain(const Parameterisation& p) {
  const bool is_linear = &p.schedule->path() == &linear_path();
  return [p, is_linear](const at::Tensor& noise, const at::Tensor& target) {
    const auto level = [&](const at::Tensor& number) {
      const at::Tensor angle = number * (std::numbers::pi / 2000.0);
      const at::Tensor norm = is_linear ? 1.0 / (at::cos(angle) + at::sin(angle)) : at::ones_like(angle);
      return std::pair(at::cos(angle) * norm, at::sin(angle) * norm);
    };
    const auto [alpha_t, sigma_t] = level(noise);
    const auto [alpha_s, sigma_s] = level(target);
    const at::Tensor ratio = ((alpha_s * kSpread).square() + sigma_s.square()).sqrt() /
                             ((alpha_t * kSpread).square() + sigma_t.square()).sqrt();
    // v and velocity: skip and out of core/math/scalings.h on these two paths.
    const at::Tensor skip = is_linear ? at::ones_like(alpha_t) : alpha_t, out = -sigma_t;
    const at::Tensor on_x = sigma_s / sigma_t, on_x0 = alpha_s - alpha_t * on_x;
    return (ratio - on_x - on_x0 * skip) / (on_x0 * out);
  };
}

inline at::Tensor losses(const Objective& what, const Model& model, std::int64_t n, std::uint64_t step,
                         std::int64_t steps, at::ScalarType type = at::kDouble) {
  const at::Tensor x0 = kSpread * normals({n, 4}, 100 + step, type);
  return what.loss(model, x0, {}, {.seed = 3, .step = step, .batch = n, .first_in_batch = 0, .steps = steps});
}

}  // namespace thaw::testing
