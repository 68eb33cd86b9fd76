// Objectives of few-step models against what is known exactly of Gaussian data.

#include <cmath>
#include <cstdio>
#include <limits>
#include <numbers>
#include <string_view>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/few_step.h"
#include "core/jvp.h"
#include "core/math/philox.h"
#include "core/nn/dit.h"
#include "core/nn/unet2d.h"
#include "core/optimizer.h"
#include "tests/catch.h"
#include "tests/core/gaussian_networks.h"

using namespace thaw;
using namespace thaw::testing;

CATCH_TEST_CASE("forward-mode derivatives of both networks agree with differences", "[core][few_step][jvp]") {
  const auto check = [](const auto& network, Parameters& parameters) {
    for (const auto& [name, weight] : parameters.all()) {
      weight.set_data(weight.detach().to(at::kDouble));
      if (weight.dim() >= 1 && weight.requires_grad()) weight.set_data(0.1 * normals(weight.sizes(), 17));
    }
    const at::Tensor x = normals({3, 1, 8, 8}, 1), along = normals({3, 1, 8, 8}, 2);
    const at::Tensor noise = at::tensor({100.0, 400.0, 900.0}, at::kDouble),
                     faster = at::tensor({5.0, -3.0, 2.0}, at::kDouble);
    const at::Tensor label = at::tensor({1, 0, 3}, at::kLong), target = noise * 0.25,
                     guidance = at::ones_like(noise) * 2;
    const auto f = [&](const std::vector<at::Tensor>& in) { return network(in[0], {in[1], label, target, guidance}); };
    const Dual dual = derivative_along(f, {x, noise}, {along, faster});
    constexpr double h = 1e-5;
    const at::Tensor difference =
        (f({x + h * along, noise + h * faster}) - f({x - h * along, noise - h * faster})) / (2 * h);
    CATCH_CHECK(((dual.tangent - difference).norm() / difference.norm()).template item<double>() < 1e-7);
    CATCH_CHECK(at::allclose(dual.value, f({x, noise}), 1e-12, 1e-12));
    CATCH_CHECK(difference.norm().template item<double>() > 0.1);
  };
  Parameters unet_weights(1), dit_weights(1);
  nn::UNet2dOptions unet;
  unet.size = 8;
  unet.width = 8;
  unet.multipliers = {1, 2};
  unet.attention = {4};
  unet.num_classes = 4;
  unet.takes_target = unet.takes_guidance = true;
  check(nn::UNet2d(Scope(unet_weights), unet), unet_weights);
  nn::DiTOptions dit;
  dit.height = dit.width = 8;
  dit.features = 16;
  dit.depth = 2;
  dit.heads = 2;
  dit.num_classes = 4;
  dit.takes_target = dit.takes_guidance = true;
  check(nn::DiT(Scope(dit_weights), dit), dit_weights);
}

CATCH_TEST_CASE("the exact flow map satisfies what MeanFlow, sCM and shortcuts ask for", "[core][few_step]") {
  struct Case {
    const char* process;
    Prediction prediction;
  };
  for (const Case& c : {Case{"cosine", Prediction::kV}, Case{"flow", Prediction::kVelocity}}) {
    CATCH_CAPTURE(c.process);
    auto backbone = std::make_unique<Gain>(true, Gain::Formula{});
    Gain& gain = *backbone;
    const Model model = model_of(std::move(backbone), schedule(c.process), c.prediction);
    gain.use(exact_gain(model.parameterisation));
    for (const char* name : {"mean_flow", "continuous_consistency", "shortcut"}) {
      CATCH_CAPTURE(name);
      const std::string kind = name;
      std::string yaml = "{condition_dropout: 0.0";
      if (kind == "mean_flow") yaml += ", teacher: exact, share_same: 0.0, norm_power: 0.0}";
      if (kind == "continuous_consistency") yaml += ", teacher: exact, norm_power: 0.0, warmup: 0.0}";
      if (kind == "shortcut") yaml += ", share: 1.0, target_decay: 0.0}";
      const ObjectivePtr what = objective(name, yaml.c_str());
      what->prepare(model);
      CATCH_CHECK(losses(*what, model, 64, 0, 1).max().item<double>() < 1e-13);
      // A map that is 1 % off satisfies none of them.
      const Gain::Formula exact = exact_gain(model.parameterisation);
      gain.use([&](const at::Tensor& noise, const at::Tensor& target) {
        return exact(noise, target) + 0.01 * (noise - target) / 1000.0;
      });
      what->prepare(model);
      CATCH_CHECK(losses(*what, model, 64, 0, 1).mean().item<double>() > 1e-9);
      gain.use(exact);
    }
  }
}

CATCH_TEST_CASE("a consistency function keeps the clean state, and its pairs agree with the teacher's steps",
                "[core][few_step]") {
  auto backbone = std::make_unique<Gain>(false, Gain::Formula{});
  Gain& gain = *backbone;
  const Model model = model_of(std::move(backbone), schedule("cosine"), Prediction::kV);
  const Gain::Formula map = exact_gain(model.parameterisation);
  gain.use([&](const at::Tensor& noise, const at::Tensor&) { return map(noise, at::zeros_like(noise)); });
  const at::Tensor x = normals({5, 4}, 4);
  const std::vector<Level> clean(5, Level{1.0, 0.0});
  gain.use([&](const at::Tensor& noise, const at::Tensor&) { return noise * 3 + 1; });
  CATCH_CHECK(at::equal(estimate_x0(model, x, clean, {}), x));
  gain.use([&](const at::Tensor& noise, const at::Tensor&) { return map(noise, at::zeros_like(noise)); });
  // The exact function against a teacher's steps of finite length: the square falls with the fourth (second order) and
  // sixth power of the number of intervals (whose local errors fall one order faster, weighted here by nothing).
  for (const int order : {1, 2}) {
    double before = 0.0;
    for (const int intervals : {64, 128, 256}) {
      const ObjectivePtr what = objective(
          "consistency_distillation",
          ("{teacher: exact, condition_dropout: 0.0, distance: squared, weight: uniform, growth: doubling, order: " +
           std::to_string(order) + ", s0: " + std::to_string(intervals) + ", s1: " + std::to_string(intervals) + "}")
              .c_str());
      what->prepare(model);
      const double now = losses(*what, model, 512, 0, 1).mean().item<double>();
      if (before > 0.0) CATCH_CHECK(std::log2(before / now) == Catch::Approx(2.0 * (order + 1)).margin(0.5));
      before = now;
    }
  }
}

namespace {

/// A small network of the two numbers, times x.
struct LearnedGain {
  static NamedTensors weights() {
    NamedTensors result;
    const std::int64_t width = 128;
    result.emplace_back("w1", normals({width, 10}, 31, at::kFloat) * 0.5);
    result.emplace_back("b1", normals({width}, 32, at::kFloat) * 0.5);
    result.emplace_back("w2", normals({width, width}, 33, at::kFloat) * std::sqrt(1.0 / width));
    result.emplace_back("b2", at::zeros({width}));
    result.emplace_back("w3", at::zeros({1, width}));
    result.emplace_back("b3", at::zeros({1}));
    return result;
  }
  static at::Tensor call(const NamedTensors& w, const at::Tensor& noise, const at::Tensor& target) {
    const at::Tensor a = noise * (std::numbers::pi / 2000.0), b = target * (std::numbers::pi / 2000.0);
    const at::Tensor features = at::stack(
        {a, b, a.cos(), a.sin(), b.cos(), b.sin(), (2 * a).cos(), (2 * a).sin(), (2 * b).cos(), (2 * b).sin()}, 1);
    at::Tensor h = at::silu(at::linear(features, w[0].second, w[1].second));
    h = at::silu(at::linear(h, w[2].second, w[3].second));
    return at::linear(h, w[4].second, w[5].second).flatten();
  }
};

struct TrainingCase {
  const char* name;
  const char* yaml;
  const char* process;
  Prediction prediction;
  bool takes_target;
  std::int64_t steps, batch;
  double learning_rate, allowed_error;
};

// The largest relative error of the map from every level to the end, against the exact one; of shortcuts, against
// themselves.
double trained_error(const TrainingCase& c) {
  const auto& [name, yaml, process, prediction, takes_target, steps, batch, rate, allowed] = c;
  auto backbone = std::make_unique<Gain>(takes_target, Gain::Formula{}, LearnedGain::weights());
  Gain& gain = *backbone;
  const Model model =
      model_of(std::move(backbone),
               schedule(process, std::string_view(process) == "cosine" ? "{lambda_min: -3, lambda_max: 5}" : "{}"),
               prediction, Precision::kFloat32);
  const NamedTensors weights = model.backbone->parameters().all();
  gain.use(
      [&](const at::Tensor& noise, const at::Tensor& target) { return LearnedGain::call(weights, noise, target); });
  const ObjectivePtr what = objective(name, yaml);
  what->prepare(model);
  OptimizerOptions options;
  options.learning_rate = rate;
  options.weight_decay = 0.0;
  options.warmup = 20;
  if (std::string_view(name) == "progressive_distillation") options.decay = "linear";
  AdamW optimizer(weights, options);
  WeightAverage average(weights, exponential_decay(0.99));
  const at::Tensor never = at::zeros({});
  for (std::int64_t step = 0; step < steps; ++step) {
    losses(*what, model, batch, static_cast<std::uint64_t>(step), steps, at::kFloat).mean().backward();
    optimizer.clip_gradients();
    optimizer.step(learning_rate_at(options, step, steps), step + 1, never);
    average.update(step + 1);
    optimizer.zero_gradients();
    what->updated(model, {.seed = 3, .step = static_cast<std::uint64_t>(step), .batch = batch, .steps = steps});
  }
  const SwappedWeights swapped(weights, average.tensors());
  const c10::NoGradGuard no_grad;
  const Schedule& of = *model.parameterisation.schedule;
  const auto level_at = [&](double u) {
    return u == 0.0 ? of.path().at(1e300) : of.at(of.t_min() + (of.t_max() - of.t_min()) * u);
  };
  const auto taken = [&](double from, double to, const at::Tensor& x) {
    const std::vector<Level> levels(1, level_at(from)), ends(1, level_at(to));
    return mapped(model, x, levels, ends, {});
  };
  const at::Tensor one = at::ones({1, 4});
  double worst = 0.0;
  if (std::string_view(name) == "shortcut") {  // it asks that two half steps are one; its shortest step is Euler's
    for (const double u : {1.0, 0.5, 0.25, 0.125}) {
      const double whole = taken(u, 0.0, one).mean().item<double>();
      const double halves = taken(u / 2, 0.0, taken(u, u / 2, one)).mean().item<double>();
      worst = std::max(worst, std::abs(halves / whole - 1.0));
    }
    return worst;
  }
  // Progressive distillation's last student knows one step.
  const double first = std::string_view(name) == "progressive_distillation" ? 1.0 : 0.05;
  for (double u = first; u < 1.01; u += 0.05) {
    const double end = taken(std::min(u, 1.0), 0.0, one).mean().item<double>();
    worst = std::max(worst, std::abs(end / (kSpread / deviation(level_at(std::min(u, 1.0)))) - 1.0));
  }
  return worst;
}

}  // namespace

CATCH_TEST_CASE("few-step objectives learn the flow of Gaussian data", "[core][few_step][training][slow]") {
  // MeanFlow off its own path is slow at the far end: there a change of F says little about the map. Progressive
  // distillation adds the errors of its eight students.
  constexpr Prediction kV = Prediction::kV, kVelocity = Prediction::kVelocity;
  const TrainingCase cases[] = {
      {"consistency_distillation", "{teacher: exact, distance: squared, s0: 8, s1: 1024}", "cosine", kV, false, 6000,
       256, 5e-3, 1e-3},
      {"easy_consistency_tuning", "{distance: squared, doublings: 14}", "cosine", kV, false, 12000, 2048, 3e-3, 1e-3},
      {"continuous_consistency", "{teacher: exact, norm_power: 0.0}", "cosine", kV, false, 1500, 256, 5e-3, 1e-3},
      {"mean_flow", "{teacher: exact, share_same: 0.0, norm_power: 0.0}", "flow", kVelocity, true, 12000, 256, 5e-3,
       1e-3},
      {"mean_flow", "{teacher: exact, share_same: 0.3, norm_power: 0.0}", "cosine", kV, true, 24000, 256, 5e-3, 5e-3},
      {"shortcut", "{share: 0.5, finest: 5}", "flow", kVelocity, true, 12000, 1024, 5e-3, 1e-3},
      {"progressive_distillation", "{teacher: exact, first_steps: 256, last_steps: 1}", "cosine", kV, false, 4000, 256,
       5e-3, 2e-2},
  };
  for (const TrainingCase& c : cases) {
    CATCH_CAPTURE(c.name, c.process);
    const double error = trained_error(c);
    std::printf("%s on %s: largest relative error %.1e\n", c.name, c.process, error);
    CATCH_CHECK(error < c.allowed_error);
  }
}

CATCH_TEST_CASE("objectives refuse what they cannot train, with the reason", "[core][few_step][errors]") {
  const auto refusal = [](const char* name, const char* yaml, Prediction prediction) -> std::string {
    const Model model = model_of(std::make_unique<Gain>(false, Gain::Formula{}), schedule("cosine"), prediction);
    try {
      objective(name, yaml)->prepare(model);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  CATCH_CHECK(has(refusal("mean_flow", "{}", Prediction::kV), "backbone.takes_target"));
  CATCH_CHECK(has(refusal("shortcut", "{}", Prediction::kV), "backbone.takes_target"));
  CATCH_CHECK(has(refusal("easy_consistency_tuning", "{}", Prediction::kData), "objective.prediction"));
  CATCH_CHECK(has(refusal("consistency_distillation", "{teacher: wide}", Prediction::kV), "objective.teacher"));
  CATCH_CHECK(has(refusal("latent_consistency", "{teacher: exact}", Prediction::kV), "takes_guidance"));
  CATCH_CHECK(
      has(refusal("progressive_distillation", "{teacher: exact, first_steps: 3}", Prediction::kV), "powers of 2"));
  CATCH_CHECK(has(refusal("consistency_distillation", "{}", Prediction::kV), "teacher"));
}
