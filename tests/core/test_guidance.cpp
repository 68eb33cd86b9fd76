// Guidance by branches of one network, on data whose denoiser is known: classes are normal, no class is their mixture.
// Doubles throughout: a few ulp of numbers of order 1 to 10.

#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "core/checkpoint.h"
#include "core/executor.h"
#include "core/lanes.h"
#include "samplers/sampler.h"
#include "tests/catch.h"
#include "tests/core/guidance_models.h"
#include "tests/io/scratch.h"

using namespace thaw;
using namespace thaw::test;
using thaw::testing::Scratch;

CATCH_TEST_CASE("at neutral strength every guidance changes no bit", "[core][guidance]") {
  const Scratch scratch;
  const std::string file = (scratch / "y.safetensors").string();
  save_tensors(file, {{"measured", some_normals({4, 1, 4, 4}, 9)}});
  const std::string measured = ", scale: 0, measured: " + file + ", measurement: deblurring}";
  const std::vector<std::pair<std::string, SecondModelOpener>> neutral{
      {"none", {}},
      {"{type: cfg, scale: 1, rescale: 0.7}", {}},
      {"{type: cfg_zero, scale: 1}", {}},
      {"{type: apg, scale: 1}", {}},
      {"{type: embedded, scale: 1}", {}},
      {"{type: autoguidance, scale: 1, model: w}", weaker},
      {"{type: classifier, scale: 0, model: c}", noisy_classifier},
      {"{type: perturbed_attention, scale: 0}", {}},
      {"{type: skip_layer, scale: 0}", {}},
      {"{type: dps" + measured, {}},
      {"{type: pigdm" + measured, {}}};
  GuidanceRegistry registry("guidance");
  register_guidance(registry);
  CATCH_REQUIRE(neutral.size() == registry.entries().size());
  Bench bench;
  bench.model = class_model(bench.counts, 1.0, true);
  for (const auto& [yaml, open] : neutral)
    for (const Level& level : {kNoisy, kMiddle, kClean}) {
      CATCH_CAPTURE(yaml);
      CATCH_CHECK(at::equal(bench.ask(yaml, level, open), bench.ask("none", level)));
    }
}

CATCH_TEST_CASE("classifier-free guidance between two normal classes is a normal class with a shifted mean",
                "[core][guidance]") {
  // Means of class k: kMeans[k]; the same spread. D is linear in the mean, so guidance moves the mean alone.
  const Bench bench;
  const double scale = 2.5;
  const Denoiser denoiser = bench.guided("{type: cfg, scale: 2.5, negative: 0}");
  for (const Level& level : {kNoisy, kMiddle, kClean}) {
    const at::Tensor means = class_means().index({bench.labels}).reshape({4, 1, 1, 1});
    const at::Tensor moved = kMeans[0] + scale * (means - kMeans[0]);
    CATCH_CHECK(is_close(bench.ask(denoiser, level), normal_x0(bench.x, level, moved, kSpread)));
  }
  // A whole trajectory, by formulas and lanes: the end of ddim is that of the shifted class.
  SamplerRegistry samplers("sampler");
  register_samplers(samplers);
  const Plan plan = samplers.create(Config::parse("{type: ddim}", "t"), "ddim")(class_grid(12));
  NoiseSource noise(1, {0, 1, 2, 3});
  const at::Tensor end = run_plan(plan, denoiser, Latent::of(bench.x), noise).main();
  const at::Tensor means = class_means().index({bench.labels}).reshape({4, 1, 1, 1});
  const Denoiser exact = [&](const Latent& x, const Query& query) {
    return Outputs{Latent::of(normal_x0(x.main(), query.at, kMeans[0] + scale * (means - kMeans[0]), kSpread))};
  };
  CATCH_CHECK(is_close(end, run_plan(plan, exact, Latent::of(bench.x), noise).main(), 1e-11));
}

CATCH_TEST_CASE("guidance costs one call of twice the batch and one plain call outside its interval",
                "[core][guidance]") {
  const Bench bench;
  SamplerRegistry samplers("sampler");
  register_samplers(samplers);
  const Grid grid = class_grid(10);
  std::int64_t inside = 0;
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const double fraction = noise_fraction(grid[i]);
    inside += fraction >= 0.3 && fraction <= 0.7;
  }
  CATCH_REQUIRE(inside >= 3);
  const Plan plan = samplers.create(Config::parse("{type: dpmpp_2m}", "t"), "ddim")(grid);
  for (const char* type : {"cfg", "cfg, rescale: 0.5", "cfg_zero", "apg"}) {
    CATCH_CAPTURE(type);
    *bench.counts = {};
    NoiseSource noise(1, {0, 1, 2, 3});
    run_plan(plan, bench.guided(std::string("{scale: 2, interval: [0.3, 0.7], type: ") + type + "}"),
             Latent::of(bench.x), noise);
    CATCH_CHECK(bench.counts->calls == 10);
    CATCH_CHECK(bench.counts->rows == 4 * (10 + inside));
  }
  // A perturbed branch is a call of its own.
  *bench.counts = {};
  bench.ask("{type: perturbed_attention, scale: 2, cfg: 3}", kMiddle);
  CATCH_CHECK(bench.counts->calls == 2);
  CATCH_CHECK(bench.counts->rows == 4 * 3);
}

CATCH_TEST_CASE("rescaling brings the guided quantity to the conditional one's deviation", "[core][guidance]") {
  const Bench bench;
  const auto deviation = [](const at::Tensor& y) { return y.flatten(1).std(1); };
  const at::Tensor conditional = some_normals({4, 1, 4, 4}, 5), null = 0.5 * some_normals({4, 1, 4, 4}, 6);
  const Denoiser two = [&](const Latent&, const Query& query) {
    Outputs outputs;
    for (const Branch branch : query.branches)
      outputs.push_back(Latent::of(branch == Branch::kConditional ? conditional : null));
    return outputs;
  };
  for (const char* space : {"data", "noise", "velocity", "output"}) {
    // The cosine schedule's path: v and the velocity in its angle are the same number; sigma eps = x - alpha D.
    const auto quantity = [&](const at::Tensor& data) {
      if (std::string(space) == "data") return data;
      const at::Tensor eps = (bench.x - data * kMiddle.alpha) / kMiddle.sigma;
      return std::string(space) == "noise" ? eps : eps * kMiddle.alpha - data * kMiddle.sigma;
    };
    CATCH_CAPTURE(space);
    const auto ask = [&](const std::string& options) {
      const Denoiser denoiser =
          with_guidance(two, make_guidance("{" + options + "rescale_space: " + space + "}"), bench.run());
      return quantity(bench.ask(denoiser, kMiddle));
    };
    const at::Tensor own = quantity(conditional), plain = ask("scale: 4, "), whole = ask("scale: 4, rescale: 1, ");
    CATCH_CHECK(is_close(deviation(whole), deviation(own)));
    CATCH_CHECK_FALSE(is_close(deviation(plain), deviation(own), 1e-2));
    CATCH_CHECK(is_close(ask("scale: 4, rescale: 0.3, "), 0.3 * whole + 0.7 * plain));
  }
}

CATCH_TEST_CASE("cfg_zero fits the null velocity to the conditional one and stands still next to noise",
                "[core][guidance]") {
  // v_c = 2 v_u on the linear path: the fitted scale is 2, nothing is left to guide. Off it, the closed form.
  Bench bench;
  bench.model.parameterisation.schedule = class_schedule("flow");
  const Level level{0.4, 0.6};
  const at::Tensor v_u = some_normals({4, 1, 4, 4}, 5), other = some_normals({4, 1, 4, 4}, 6);
  const auto guided = [&](const at::Tensor& v_c, const Level& at) {
    const Denoiser two = [&](const Latent& x, const Query& query) {
      Outputs outputs;
      for (const Branch branch : query.branches)  // D = x - t v
        outputs.push_back(Latent::of(x.main() - query.at.sigma * (branch == Branch::kConditional ? v_c : v_u)));
      return outputs;
    };
    const Denoiser denoiser =
        with_guidance(two, make_guidance("{type: cfg_zero, scale: 3, zero_init: 0.1}"), bench.run());
    return (bench.x - bench.ask(denoiser, at)) / at.sigma;
  };
  CATCH_CHECK(is_close(guided(2 * v_u, level), 2 * v_u));
  const at::Tensor s = (other * v_u).flatten(1).sum(1) / v_u.square().flatten(1).sum(1);
  const at::Tensor fitted = v_u * s.reshape({4, 1, 1, 1});
  CATCH_CHECK(is_close(guided(other, level), fitted + 3 * (other - fitted)));
  CATCH_CHECK(is_close(guided(other, {0.02, 0.98}), at::zeros_like(v_u)));
}

CATCH_TEST_CASE("projected guidance splits the update along and across the estimate", "[core][guidance]") {
  const Bench bench;
  const at::Tensor own = bench.branch(Branch::kConditional, kMiddle),
                   null = bench.branch(Branch::kUnconditional, kMiddle);
  const auto dot = [](const at::Tensor& a, const at::Tensor& b) {
    return (a * b).flatten(1).sum(1).reshape({4, 1, 1, 1});
  };
  const at::Tensor along = own * (dot(own - null, own) / dot(own, own)), across = own - null - along;
  const auto ask = [&](const std::string& options) {
    return bench.ask("{type: apg, scale: 3, momentum: 0, " + options + "}", kMiddle) - own;
  };
  CATCH_CHECK(is_close(ask("parallel: 1"), bench.ask("{type: cfg, scale: 3}", kMiddle) - own));
  CATCH_CHECK(is_close(ask("parallel: 0"), 2 * across));
  CATCH_CHECK(is_close(dot(ask("parallel: 0"), own), at::zeros({4, 1, 1, 1}, at::kDouble)));
  CATCH_CHECK(is_close(ask("parallel: 0.5"), 2 * (across + 0.5 * along)));
  const double length = 0.01;  // shorter than every update
  CATCH_CHECK(dot(own - null, own - null).sqrt().min().item<double>() > length);
  CATCH_CHECK(is_close(dot(ask("parallel: 1, norm: 0.01"), ask("parallel: 1, norm: 0.01")).sqrt(),
                       at::full({4, 1, 1, 1}, 2 * length, at::kDouble)));
}

CATCH_TEST_CASE(
    "the momentum of projected guidance runs along levels, however often and in whatever lanes they are asked",
    "[core][guidance]") {
  const Bench bench;
  const std::vector<Level> levels{{0.2, std::sqrt(0.96)}, kMiddle, {0.9, std::sqrt(0.19)}};
  const std::string yaml = "{type: apg, scale: 2, parallel: 1, momentum: -0.5}";
  std::vector<at::Tensor> expected;
  at::Tensor sum = at::zeros_like(bench.x);
  for (const Level& level : levels) {
    const at::Tensor own = bench.branch(Branch::kConditional, level);
    sum = own - bench.branch(Branch::kUnconditional, level) - 0.5 * sum;
    expected.push_back(own + sum);
  }
  const Denoiser in_turn = bench.guided(yaml), twice = bench.guided(yaml), lanes = bench.guided(yaml);
  for (std::size_t i = 0; i < 3; ++i) {
    CATCH_CHECK(is_close(bench.ask(in_turn, levels[i]), expected[i]));
    for (int again = 0; again < 2; ++again) CATCH_CHECK(is_close(bench.ask(twice, levels[i]), expected[i]));
  }
  const Latent x = Latent::of(bench.x);
  for (int sweep = 0; sweep < 2; ++sweep) {
    const at::Tensor joined =
        lanes(join_lanes(std::vector<const Latent*>{&x, &x, &x}), {.at = {NAN, NAN}, .lanes = levels})
            .front()
            .data.main();
    CATCH_CHECK(is_close(joined, at::cat(expected)));
  }
  // Another trajectory knows nothing of this one.
  CATCH_CHECK(is_close(bench.ask(bench.guided(yaml), levels[0]), expected[0]));
}

CATCH_TEST_CASE("distilled guidance tells the network its scale at each level", "[core][guidance]") {
  // This network answers with its class moved away from 0 by the scale it is told.
  Bench bench;
  const at::Tensor means = class_means().index({bench.labels}).reshape({4, 1, 1, 1});
  bench.model = class_model(bench.counts, 1.0, true);
  CATCH_CHECK(
      is_close(bench.ask("{type: embedded, scale: 2.5}", kMiddle), normal_x0(bench.x, kMiddle, 2.5 * means, kSpread)));
  CATCH_CHECK(is_close(bench.ask("{type: embedded, scale: 2.5, interval: [0, 0.1]}", kMiddle),
                       normal_x0(bench.x, kMiddle, means, kSpread)));
}

CATCH_TEST_CASE("a scale's schedule has the mean it is named for, a list is met at its knots", "[core][guidance]") {
  // The scale is read off D = scale: conditional 1, unconditional 0. Midpoint rule over 400 noise fractions of smooth
  // shapes: errors below 1e-5.
  const Denoiser unit = [](const Latent& x, const Query& query) {
    Outputs outputs;
    for (const Branch branch : query.branches)
      outputs.push_back(Latent::of(at::full_like(x.main(), branch == Branch::kConditional ? 1.0 : 0.0)));
    return outputs;
  };
  const auto at_fraction = [&](const std::string& options, double fraction) {
    const Denoiser denoiser = with_guidance(unit, make_guidance("{scale: 3, " + options + "}"));
    const double angle = fraction * std::numbers::pi / 2;
    const Latent x = Latent::of(at::zeros({1}, at::kDouble));
    return denoiser(x, {.at = {std::cos(angle), std::sin(angle)}}).front().data.main().item<double>();
  };
  constexpr int kPoints = 400;
  for (const char* schedule : {"constant", "linear", "cosine", "beta"}) {
    double mean = 0.0;
    for (int i = 0; i < kPoints; ++i)
      mean += at_fraction(std::string("schedule: ") + schedule, (i + 0.5) / kPoints) / kPoints;
    CATCH_CAPTURE(schedule);
    CATCH_CHECK(mean == Catch::Approx(3.0).margin(1e-4));
  }
  CATCH_CHECK(at_fraction("schedule: linear", 0.75) == Catch::Approx(2.0));  // 1 + 2 * 2 * 0.25
  CATCH_CHECK(at_fraction("schedule: cosine", 0.5) == Catch::Approx(3.0));
  CATCH_CHECK(at_fraction("schedule: beta", 0.5) == Catch::Approx(4.0));  // density of beta(2, 2) at 1/2: 1.5
  const std::string list = "schedule: list, scales: [1, 5, 2]";
  CATCH_CHECK(at_fraction(list, 1.0) == Catch::Approx(1.0));
  CATCH_CHECK(at_fraction(list, 0.5) == Catch::Approx(5.0));
  CATCH_CHECK(at_fraction(list, 0.25) == Catch::Approx(3.5));
  CATCH_CHECK(at_fraction(list, 0.0) == Catch::Approx(2.0));
}
