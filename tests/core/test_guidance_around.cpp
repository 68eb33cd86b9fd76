// Guidance by something else than the network's own branches: second models, perturbed passes, measurements; what each
// refuses. Doubles; 1e-10 where gradients pass through a softmax.

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/checkpoint.h"
#include "core/nn/dit.h"
#include "core/nn/unet2d.h"
#include "tests/catch.h"
#include "tests/core/guidance_models.h"
#include "tests/io/scratch.h"

using namespace thaw;
using namespace thaw::test;
using thaw::testing::Scratch;

CATCH_TEST_CASE("autoguidance is linear in the model and the weaker one, also as formulas", "[core][guidance]") {
  const Bench bench;
  const auto weak = weaker("", 0);
  const at::Tensor other =
      weak->denoiser({{"label", bench.labels}})(Latent::of(bench.x), {.at = kMiddle}).front().data.main();
  const at::Tensor own = bench.ask("none", kMiddle), expected = 2.5 * own - 1.5 * other;
  CATCH_CHECK_FALSE(is_close(own, other, 1e-2));
  const Denoiser denoiser = bench.guided("{type: autoguidance, scale: 2.5, model: w}", weaker);
  CATCH_CHECK(is_close(bench.ask(denoiser, kMiddle), expected));
  const Affine formula = *denoiser(Latent::of(bench.x), {.at = kMiddle, .wanted = {.affine = true}}).front().affine;
  at::Tensor sum = bench.x * formula.skip;
  for (const auto& [weight, part] : formula.parts) sum = sum + part.main() * weight;
  CATCH_CHECK(is_close(sum, expected));
}

CATCH_TEST_CASE("an exact classifier turns the mixture's estimate into its class's", "[core][guidance]") {
  // D_mixture + (sigma^2 / alpha) grad log p(k | x) = D_k: Bayes' rule for scores.
  Bench bench;
  const at::Tensor expected = bench.ask("none", kMiddle), null = bench.branch(Branch::kUnconditional, kMiddle);
  CATCH_CHECK_FALSE(is_close(expected, null, 1e-2));
  for (const Level& level : {kNoisy, kMiddle, kClean}) {
    const at::Tensor own = bench.branch(Branch::kConditional, level);
    const Denoiser mixture = [&](const Latent& x, const Query& query) {
      Query asked = query;
      asked.branches = {Branch::kUnconditional};
      return bench.model.denoiser({{"label", bench.labels}})(x, asked);
    };
    const auto guided = [&](const char* yaml) {
      return bench.ask(with_guidance(mixture, make_guidance(yaml, noisy_classifier), bench.run()), level);
    };
    const at::Tensor full = guided("{type: classifier, scale: 1, model: c}");
    CATCH_CHECK(is_close(full, own, 1e-9));
    // Linear in its scale.
    const at::Tensor mean = bench.branch(Branch::kUnconditional, level);
    CATCH_CHECK(is_close(guided("{type: classifier, scale: 3, model: c}") - mean, 3 * (full - mean), 1e-9));
  }
}

CATCH_TEST_CASE("measured guidance of normal data is the posterior mean, or points along it", "[core][guidance]") {
  // Prior N(m, s^2) a pixel: P = s^2 sigma^2 / v; the exact shift is P A^T (P A A^T + noise^2)^-1 (y - A D).
  const Scratch scratch;
  Bench bench;
  const Level level = kMiddle;
  const double own = kSpread * kSpread, noise = 0.1;
  const double p = own * 0.64 / (0.36 * own + 0.64);
  const at::Tensor data = bench.ask("none", level);
  MeasurementRegistry measurements("measurement");
  register_measurements(measurements);
  int measured = 0;
  for (const auto& entry : measurements.entries()) {
    ++measured;
    CATCH_CAPTURE(entry.info.name);
    const MeasurementPtr a = measurements.create(Config::parse("type: " + entry.info.name, "t"), "");
    const at::Tensor y = a->apply(some_normals(bench.x.sizes(), 8));
    CATCH_CHECK(y.sizes().slice(1) == at::IntArrayRef(a->measured_shape({1, 4, 4})));
    const std::string file = (scratch / (entry.info.name + ".safetensors")).string();
    save_tensors(file, {{"measured", y}});
    const auto ask = [&](const std::string& options) {
      return bench.ask("{measured: " + file + ", noise: 0.1, measurement: " + entry.info.name + ", " + options + "}",
                       level) -
             data;
    };
    const auto transposed = [&](const at::Tensor& residual) {
      at::Tensor leaf = at::zeros_like(data).requires_grad_();
      (a->apply(leaf) * residual).sum().backward();
      return leaf.grad();
    };
    const at::Tensor residual = y - a->apply(data);
    const at::Tensor solved = a->solve(residual, p, noise * noise);
    // solve really is an inverse: (P A A^T + noise^2) solve(r) = r.
    CATCH_CHECK(is_close(a->apply(transposed(solved)) * p + solved * noise * noise, residual, 1e-11));
    const at::Tensor exact = p * transposed(solved);
    CATCH_CHECK(exact.abs().max().item<double>() > 1e-2);
    CATCH_CHECK(is_close(ask("type: pigdm, data_std: 0.3"), exact, 1e-10));
    CATCH_CHECK(is_close(ask("type: pigdm, data_std: 0.3, scale: 2"), 2 * exact, 1e-10));
    // DPS leaves the estimate's own uncertainty out: P A^T (y - A D) over the noise, or over that and the residual's
    // size.
    CATCH_CHECK(is_close(ask("type: dps, variance: noise"), p / (noise * noise) * transposed(residual), 1e-10));
    const at::Tensor size = (residual.square().flatten(1).mean(1).reshape({4, 1, 1, 1}) + noise * noise).sqrt();
    CATCH_CHECK(is_close(ask("type: dps"), p * transposed(residual / size), 1e-10));
  }
  CATCH_CHECK(measured == 3);
}

CATCH_TEST_CASE("perturbed guidance goes away from the perturbed network by its scale", "[core][guidance]") {
  const Bench bench;
  const at::Tensor own = bench.ask("none", kMiddle), null = bench.branch(Branch::kUnconditional, kMiddle);
  int kinds = 0;
  for (const auto& [type, kind] : {std::pair("perturbed_attention", Perturbation::Kind::kIdentityAttention),
                                   std::pair("skip_layer", Perturbation::Kind::kSkippedLayer)}) {
    ++kinds;
    const Perturbation perturbation{kind, {1}};
    const nn::PerturbedPass pass(perturbation);
    const at::Tensor weak = bench.ask("none", kMiddle);
    CATCH_CHECK_FALSE(is_close(weak, own, 1e-2));
    const auto ask = [&](const std::string& options) {
      const Perturbation nothing;
      const nn::PerturbedPass whole(nothing);
      return bench.ask(std::string("{layers: [1], scale: 2, type: ") + type + options + "}", kMiddle);
    };
    CATCH_CHECK(is_close(ask(""), own + 2 * (own - weak)));
    CATCH_CHECK(is_close(ask(", cfg: 3"), null + 3 * (own - null) + 2 * (own - weak)));
  }
  CATCH_CHECK(kinds == 2);
}

CATCH_TEST_CASE("what cannot guide is refused in one line with the reason", "[core][guidance]") {
  const Scratch scratch;
  const std::string file = (scratch / "y.safetensors").string();
  save_tensors(file, {{"measured", some_normals({1, 1, 3, 3}, 1)}});
  Bench bench;
  const auto refused = [&](const std::string& yaml, const SecondModelOpener& open = {}) {
    return message_of([&] { bench.ask(yaml, kMiddle, open); });
  };
  const auto has = [](const std::string& message, const char* part) {
    CATCH_CAPTURE(message, part);
    return message.find(part) != std::string::npos && message.find('\n') == std::string::npos;
  };
  CATCH_CHECK(has(refused("{type: cfg, interval: [0.8, 0.2]}"), "interval: expected [from, to] with from < to"));
  CATCH_CHECK(has(refused("{type: cfg, schedule: list}"), "scales: schedule list needs at least one scale"));
  CATCH_CHECK(has(refused("{type: cfg, negative: 7}"), "negative: must be below 3, got 7"));
  CATCH_CHECK(has(refused("{type: perturbed_attention, layers: [2]}"), "layers 0 to 1, got 2"));
  CATCH_CHECK(has(refused("{type: autoguidance}"), "model: needs the directory of a weaker model"));
  CATCH_CHECK(has(refused("{type: classifier, model: w}", weaker), "w is no classifier"));
  CATCH_CHECK(has(refused("{type: autoguidance, model: c}", noisy_classifier), "c is a classifier"));
  CATCH_CHECK(has(refused("{type: dps, measurement: x_ray, measured: f}"), "unknown measurement \"x_ray\""));
  CATCH_CHECK(has(refused("{type: dps, measurement: deblurring}"), "measured: needs a .safetensors file"));
  CATCH_CHECK(has(refused("{type: dps, measurement: deblurring, measured: " + file + "}"),
                  "measured is [1, 1, 3, 3], expected floats [N] of [1, 4, 4]"));
  CATCH_CHECK(has(refused("{type: dps, measurement: {type: super_resolution, factor: 3}, measured: " + file + "}"),
                  "factor 3 does not divide 4 x 4"));
  CATCH_CHECK(has(refused("{type: dps, noise: 0, variance: noise, measurement: deblurring}"), "noise: must be"));
  bench.model.backbone = std::make_unique<ClassJudge>();  // no attention, no scale
  CATCH_CHECK(has(refused("{type: perturbed_attention}"), "no attention layers that can be perturbed"));
  CATCH_CHECK(has(refused("{type: embedded, scale: 2}"), "is not told a scale of guidance"));
  // An unconditional model.
  for (const char* type : {"cfg", "cfg_zero", "apg"}) {
    const std::string message = message_of([&] {
      with_guidance(bench.model.denoiser({}), make_guidance(std::string("{scale: 2, type: ") + type + "}"),
                    {&bench.model, {}, 0, 4});
    });
    CATCH_CHECK(has(message, "this model is unconditional"));
  }
}

CATCH_TEST_CASE("identity attention is the values, a skipped layer its input, in transformers and U-Nets",
                "[core][guidance][nn]") {
  const c10::NoGradGuard no_grad;
  const auto filled = [](Parameters& parameters) {  // gates and projections start at zero: nothing would show
    std::uint64_t seed = 0;
    for (const auto& [name, tensor] : parameters.all())
      if (tensor.requires_grad()) tensor.copy_(0.3 * some_normals(tensor.sizes(), seed++));
  };
  const at::Tensor x = some_normals({2, 1, 8, 8}, 2).to(at::kFloat);
  const nn::Told told{.noise = at::full({2}, 300.0f)};
  const auto perturbed = [&](const auto& network, Perturbation::Kind kind, std::int64_t layer) {
    const Perturbation perturbation{kind, {layer}};
    const nn::PerturbedPass pass(perturbation);
    return network(x, told);
  };
  const auto differ = [](const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().max().item<double>() > 1e-4;
  };
  using Kind = Perturbation::Kind;
  Parameters whole(1), patches(1), unet(1);
  const nn::DiT one_token(Scope(whole), {.height = 8, .width = 8, .patch = 8, .features = 32, .depth = 2, .heads = 2});
  const nn::DiT tokens(Scope(patches), {.height = 8, .width = 8, .patch = 2, .features = 32, .depth = 2, .heads = 2});
  const nn::UNet2d net(Scope(unet), {.size = 8, .width = 8, .multipliers = {1, 2}, .attention = {4}, .head_width = 8});
  for (Parameters* parameters : {&whole, &patches, &unet}) filled(*parameters);
  CATCH_REQUIRE(net.attention_layers() == 4);  // one on the way down, the middle, two on the way up
  // A single token can only attend to itself.
  CATCH_CHECK((perturbed(one_token, Kind::kIdentityAttention, 0) - one_token(x, told)).abs().max().item<double>() <
              1e-5);
  CATCH_CHECK(differ(perturbed(one_token, Kind::kSkippedLayer, 0), one_token(x, told)));
  for (const Kind kind : {Kind::kIdentityAttention, Kind::kSkippedLayer}) {
    CATCH_CHECK(differ(perturbed(tokens, kind, 0), tokens(x, told)));
    CATCH_CHECK(differ(perturbed(tokens, kind, 1), perturbed(tokens, kind, 0)));
    for (std::int64_t layer = 0; layer < 4; ++layer) CATCH_CHECK(differ(perturbed(net, kind, layer), net(x, told)));
    CATCH_CHECK(at::equal(perturbed(net, kind, 4), net(x, told)));
  }
  CATCH_CHECK(at::equal(perturbed(tokens, Kind::kNone, 0), tokens(x, told)));
}
