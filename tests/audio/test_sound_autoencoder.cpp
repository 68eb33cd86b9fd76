// The autoencoder of sounds that trains here: the distance of spectra against closed forms, learning, export.

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/autoencoder.h"
#include "core/base/error.h"
#include "core/checkpoint.h"
#include "core/exportable.h"
#include "core/math/philox.h"
#include "core/objective.h"
#include "core/optimizer.h"
#include "core/spectral_distance.h"
#include "experiments/exported_network.h"
#include "experiments/model_folder.h"
#include "experiments/pipeline.h"
#include "experiments/published_networks.h"
#include "modalities/audio/list.h"
#include "tests/audio/networks.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"
#include "tests/matrix/sines.h"

using namespace thaw;
using thaw::testing::gap;
using thaw::testing::Scratch;
using thaw::testing::sounds;

namespace {

const char* const kSmall = "{type: oobleck, latent_channels: 4, width: 6, strides: [2, 4], multipliers: [1, 2]}";

std::unique_ptr<Backbone> autoencoder(const std::string& yaml, const DataSpec& spec = {{1, 64}, 0}) {
  BackboneRegistry registry("backbone");
  audio::register_autoencoders(registry);
  return registry.create(Config::parse(yaml, "t"), "", spec, 5);
}

std::string refusal(const std::string& yaml, const DataSpec& spec = {{1, 64}, 0}) {
  try {
    autoencoder(yaml, spec);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

ObjectivePtr autoencoding(const std::string& yaml) {
  ObjectiveRegistry objectives("objective");
  register_objectives(objectives);
  WeightingRegistry weightings("weighting");
  register_weightings(weightings);
  LevelSamplerRegistry levels("levels");
  register_level_samplers(levels);
  const Config section = Config::parse(yaml, "t");
  return objectives.create(section, "autoencoding", {weightings, levels, {}, {}}, section);
}

}  // namespace

CATCH_TEST_CASE("spectra of a sound times a factor are as far apart as the factor says", "[audio][autoencoder]") {
  // White, so that no magnitude lies below the floor of logarithms.
  at::Tensor x = at::empty({2, 2, 400});
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {5, Purpose::kOther, 0});
  CATCH_CHECK(at::equal(spectral_distance(x, x, {32, 64}), at::zeros({2})));
  for (const double factor : {0.5, 2.0, 3.0}) {
    CATCH_CAPTURE(factor);
    const double expected = std::abs(factor - 1) + std::abs(std::log(factor));
    const at::Tensor distance = spectral_distance(x * factor, x, {32, 64, 16});
    CATCH_CHECK((distance - expected).abs().max().item<double>() < 1e-4 * expected);
  }
  // Each sample is its own: one twice as loud changes nothing of the other.
  at::Tensor half = x.clone();
  half[1] = x[1] * 2;
  const at::Tensor apart = spectral_distance(half, x, {32});
  CATCH_CHECK(apart[0].item<double>() == 0.0);
  CATCH_CHECK(apart[1].item<double>() == Approx(1 + std::log(2.0)).epsilon(1e-4));
  // A change of phase is not heard.
  CATCH_CHECK(at::equal(spectral_distance(-x, x, {32}), at::zeros({2})));
}

CATCH_TEST_CASE("gradients of the distance of spectra are finite at silence and at no distance",
                "[audio][autoencoder]") {
  for (const double scale : {0.0, 1.0}) {
    CATCH_CAPTURE(scale);
    const at::Tensor x = sounds({1, 1, 64}) * scale;
    at::Tensor y = x.clone().set_requires_grad(true);
    spectral_distance(y, x, {16}).sum().backward();
    CATCH_CHECK(at::isfinite(y.grad()).all().item<bool>());
  }
}

CATCH_TEST_CASE("an autoencoder of sounds has latents of its strides and gives sounds back", "[audio][autoencoder]") {
  const c10::NoGradGuard no_grad;
  const auto backbone = autoencoder(kSmall);
  const auto& network = dynamic_cast<const AutoencoderNetwork&>(*backbone);
  const at::Tensor x = sounds({3, 1, 64});
  const Posterior posterior = network.encode(x);
  CATCH_CHECK(network.latent().factors == std::vector<std::int64_t>{8});
  CATCH_CHECK(posterior.mean.sizes() == at::IntArrayRef({3, 4, 8}));
  CATCH_CHECK(posterior.log_variance.sizes() == posterior.mean.sizes());
  CATCH_CHECK(network.decode(posterior.mean).sizes() == x.sizes());
  CATCH_CHECK(gap(network.decode(posterior.mean)[0], network.decode(posterior.mean)[1]) > 1e-4);
  CATCH_CHECK_THAT(refusal(kSmall, {{1, 8, 8}}), Catch::Contains("works on sounds"));
  CATCH_CHECK_THAT(refusal(kSmall, {{1, 60}}), Catch::Contains("stands for 8 samples, which do not divide the 60"));
  CATCH_CHECK_THAT(refusal("{type: oobleck, strides: [2, 3], multipliers: [1, 1]}"), Catch::Contains("even, got 3"));
  CATCH_CHECK_THAT(refusal("{type: oobleck, strides: [2, 2]}"), Catch::Contains("expected 2 numbers"));
}

CATCH_TEST_CASE("an autoencoder of sounds learns sines by their spectra", "[audio][autoencoder]") {
  Model model{
      .spec = {{1, 64}, 0}, .parameterisation = {}, .backbone = autoencoder(kSmall), .device = c10::Device(c10::kCPU)};
  const ObjectivePtr objective = autoencoding("{spectral_weight: 1, spectral_windows: [16, 32], kl_weight: 0}");
  objective->prepare(model);
  // With a little noise: the logarithm of what lies between the lines of a pure sine is of rounding.
  at::Tensor x = at::empty({4, 1, 64});
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {5, Purpose::kOther, 0});
  x = 0.2 * x + (at::arange(64, at::kFloat) * at::tensor({0.3f, 0.5f, 0.8f, 1.1f}).reshape({4, 1, 1})).sin();
  NamedTensors weights = model.backbone->parameters().all();
  OptimizerOptions options;
  options.weight_decay = 0.0;
  AdamW optimizer(weights, options);
  const at::Tensor is_void = at::zeros({}, at::kFloat);
  const auto& network = dynamic_cast<const AutoencoderNetwork&>(*model.backbone);
  // Without the draws of latents that a training step makes.
  const auto distance = [&] {
    const c10::NoGradGuard no_grad;
    const at::Tensor back = network.decode(network.encode(x).mean);
    return (back - x).abs().mean().item<double>() + spectral_distance(back, x, {16, 32}).mean().item<double>();
  };
  const double before = distance();
  for (std::int64_t step = 1; step <= 12; ++step) {
    const StepContext context{.seed = 1, .step = static_cast<std::uint64_t>(step), .batch = 4, .steps = 12};
    objective->loss(model, x, {}, context).mean().backward();
    optimizer.step(1e-2, step, is_void);
    optimizer.zero_gradients();
    objective->updated(model, context);
  }
  CATCH_CHECK(distance() < 0.6 * before);
}

CATCH_TEST_CASE("spectra are refused where they cannot be taken", "[audio][autoencoder]") {
  const auto refused = [](const std::string& yaml, std::vector<std::int64_t> shape) -> std::string {
    const Model model{.spec = {std::move(shape), 0},
                      .parameterisation = {},
                      .backbone = autoencoder(kSmall),
                      .device = c10::Device(c10::kCPU)};
    try {
      autoencoding(yaml)->prepare(model);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  CATCH_CHECK_THAT(refused("{spectral_weight: 1}", {1, 8, 8}),
                   Catch::Contains("[channels, length], they are [1, 8, 8]"));
  CATCH_CHECK_THAT(refused("{spectral_weight: 1, spectral_windows: [128]}", {1, 64}),
                   Catch::Contains("at most 126, got 128"));
  CATCH_CHECK_THAT(refused("{spectral_weight: 1, spectral_windows: []}", {1, 64}), Catch::Contains("at least one"));
  CATCH_CHECK(refused("{spectral_weight: 0, spectral_windows: [128]}", {1, 64}) == "accepted");
}

CATCH_TEST_CASE("a trained autoencoder of sounds is exported as AutoencoderOobleck and is itself",
                "[audio][autoencoder]") {
  const c10::NoGradGuard no_grad;
  Catalog catalog = make_catalog();
  thaw::test::register_sines(catalog.datasets);
  const Scratch scratch;
  const std::string yaml =
      "seed: 3\nprecision: float32\ndataset: sines\ncodec: {type: waveform, rate: 8000}\n"
      "objective: {type: autoencoding, spectral_weight: 1, spectral_windows: [16]}\nbackbone: " +
      std::string(kSmall) +
      "\ntrain: {steps: 2, batch: 4, checkpoint_every: 2, optimizer: {warmup: 1}}\n"
      "evaluate: {metrics: []}\n";
  {
    const at::AutoGradMode with_gradients(true);
    run_pipeline(Experiment(Config::parse(yaml, "t.yaml"), catalog), {scratch / "run", "test", {"train"}});
  }
  export_own_network(scratch / "run", scratch / "out", std::nullopt, catalog);
  const PublishedAutoencoder opened = open_published_autoencoder(scratch / "out");
  CATCH_CHECK(opened.rate_hz == 8000);
  const LoadedModel own = open_model(scratch / "run", catalog, {"device=cpu"});
  const auto& network = dynamic_cast<const AutoencoderNetwork&>(*own.model.backbone);
  const at::Tensor x = sounds({2, 1, 64});
  const Posterior expected = network.encode(x), found = opened.network->encode(x);
  CATCH_CHECK(gap(found.mean, expected.mean) <= 1e-6);
  CATCH_CHECK(gap(found.log_variance, expected.log_variance) <= 1e-6);
  CATCH_CHECK(gap(opened.network->decode(found.mean), network.decode(expected.mean)) <= 1e-6);
  CATCH_CHECK(expected.mean.std().item<double>() > 1e-3);
}

CATCH_TEST_CASE("a normed convolution starts as the one whose direction it has", "[audio][autoencoder]") {
  const auto backbone = autoencoder(kSmall);
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, tensor] : backbone->parameters().all()) weights[name] = tensor.detach();
  int found = 0;
  for (const auto& [name, direction] : weights)
    if (name.ends_with("weight_v")) {
      CATCH_CAPTURE(name);
      const at::Tensor length = weights.at(name.substr(0, name.size() - 1) + "g");
      CATCH_CHECK(gap(at::_weight_norm(direction, length, 0), direction) < 1e-6);
      ++found;
    }
  CATCH_CHECK(found == 4 + 2 * (2 * 3 + 1) * 2);  // each way: three units a level and what changes the length
}
