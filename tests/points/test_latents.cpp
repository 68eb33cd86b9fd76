// Clouds in a latent space: columns of points and of the whole, what they are for an autoencoder, a codec, a denoiser.

#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/autoencoder.h"
#include "core/base/text.h"
#include "core/io/npz.h"
#include "core/latent_codec.h"
#include "core/model.h"
#include "core/objective.h"
#include "core/optimizer.h"
#include "tests/experiments/program.h"
#include "tests/points/points.h"

using namespace thaw;
using thaw::testing::cloud_codec;
using thaw::testing::gap;
using thaw::testing::message_of;
using thaw::testing::random_clouds;

namespace {

constexpr std::int64_t kPoints = 20, kGlobals = 3;
const char* const kSmall = "{type: point_autoencoder, features: 12, depth: 2, globals: 3, local_channels: 1}";
const at::Tensor x = random_clouds({4, 3, kPoints});
const at::Tensor order = at::arange(kPoints).mul(7).remainder(kPoints);

std::unique_ptr<Backbone> network(const std::string& yaml, const DataSpec& spec = {{3, kPoints}, 0}) {
  BackboneRegistry registry("backbone");
  points::register_point_autoencoder(registry);
  points::register_cloud_backbones(registry);
  return registry.create(Config::parse(yaml, "t"), "", spec, 5);
}

std::unique_ptr<Backbone> stirred(const std::string& yaml, const DataSpec& spec = {{3, kPoints}, 0}) {
  const c10::NoGradGuard no_grad;
  auto made = network(yaml, spec);
  std::uint64_t count = 10;
  for (auto [name, weight] : made->parameters().all()) weight.add_(0.1 * random_clouds(weight.sizes(), count++));
  return made;
}

const AutoencoderNetwork& autoencoder(const std::unique_ptr<Backbone>& backbone) {
  return dynamic_cast<const AutoencoderNetwork&>(*backbone);
}

at::Tensor locals(const at::Tensor& z) {
  return z.narrow(2, 0, z.size(2) - kGlobals);
}
at::Tensor globals(const at::Tensor& z) {
  return z.narrow(2, z.size(2) - kGlobals, kGlobals);
}

CodecPtr latent_codec(std::shared_ptr<const Autoencoder> of) {
  CodecRegistry registry("codec");
  register_latent_codec(registry);
  const CodecParts parts{[of](const std::string&) { return OpenedAutoencoder{of, cloud_codec()}; }};
  return registry.create(Config::parse("{type: latent, autoencoder: a}", "t"), "", parts);
}

std::shared_ptr<const Autoencoder> shared(std::unique_ptr<Backbone> backbone) {
  return std::dynamic_pointer_cast<const Autoencoder>(std::shared_ptr<Backbone>(std::move(backbone)));
}

}  // namespace

CATCH_TEST_CASE("moving points moves their latents, and the whole's stay", "[points][latent]") {
  const c10::NoGradGuard no_grad;
  const auto backbone = stirred(kSmall);
  const AutoencoderNetwork& network = autoencoder(backbone);
  const Posterior first = network.encode(x), moved = network.encode(x.index_select(2, order));
  CATCH_CHECK(first.mean.sizes() == at::IntArrayRef({4, 4, kPoints + kGlobals}));
  for (const auto& [a, b] : {std::pair(first.mean, moved.mean), std::pair(first.log_variance, moved.log_variance)}) {
    CATCH_CHECK(gap(locals(b), locals(a).index_select(2, order)) < 1e-5);
    CATCH_CHECK(gap(globals(b), globals(a)) < 1e-5);
    CATCH_CHECK(globals(a).std(0).min().item<double>() > 1e-4);  // they tell clouds apart
  }
  const at::Tensor z = random_clouds({4, 4, kPoints + kGlobals}, 9);
  const at::Tensor back = network.decode(z);
  CATCH_CHECK(back.sizes() == x.sizes());
  const at::Tensor other = network.decode(at::cat({locals(z).index_select(2, order), globals(z)}, 2));
  CATCH_CHECK(gap(other, back.index_select(2, order)) < 1e-5);
  // The columns of the whole are no set, and every point hears them.
  const at::Tensor turned = network.decode(at::cat({locals(z), globals(z).flip(2)}, 2));
  CATCH_CHECK((turned - back).abs().amax({1}).min().item<double>() > 1e-5);
}

CATCH_TEST_CASE("a decoder of clouds sees a point alone and the whole, or all points where it pools",
                "[points][latent]") {
  const c10::NoGradGuard no_grad;
  for (const bool pools : {false, true}) {
    const std::string more = concat(", decoder_pools: ", pools ? "true" : "false", "}");
    const auto backbone = stirred(std::string(kSmall).replace(std::string(kSmall).size() - 1, 1, more));
    const at::Tensor z = random_clouds({4, 4, kPoints + kGlobals}, 9);
    at::Tensor other = z.clone();
    other.narrow(2, 1, kPoints - 1).copy_(random_clouds({4, 4, kPoints - 1}, 10));
    const AutoencoderNetwork& network = autoencoder(backbone);
    const at::Tensor point = network.decode(z).select(2, 0);
    CATCH_CHECK((gap(network.decode(other).select(2, 0), point) < 1e-6) != pools);
    other = z.clone();
    globals(other).add_(1.0);
    CATCH_CHECK(gap(network.decode(other).select(2, 0), point) > 1e-3);
  }
}

CATCH_TEST_CASE("an autoencoder of clouds begins as the identity, with little noise, for any number of points",
                "[points][latent]") {
  const c10::NoGradGuard no_grad;
  const auto backbone = network(kSmall);
  for (const std::int64_t points : {1, 7, 64}) {
    const at::Tensor cloud = random_clouds({2, 3, points});
    const Posterior posterior = autoencoder(backbone).encode(cloud);
    CATCH_CHECK(at::equal(locals(posterior.mean).narrow(1, 0, 3), cloud));
    CATCH_CHECK(at::equal(locals(posterior.log_variance), at::full({2, 4, points}, -6.0)));
    CATCH_CHECK(gap(globals(posterior.log_variance), at::full({2, 4, kGlobals}, -6.0)) < 1.5);
    CATCH_CHECK(at::equal(autoencoder(backbone).decode(posterior.mean), cloud));
  }
}

CATCH_TEST_CASE("latents of each channel, and of the whole each number, come to mean 0 and deviation 1",
                "[points][latent]") {
  const c10::NoGradGuard no_grad;
  const auto backbone = network(kSmall);
  const at::Tensor spread = at::arange(1, 4 * (kPoints + kGlobals) + 1, at::kFloat).reshape({4, kPoints + kGlobals});
  const at::Tensor z = at::cat({random_clouds({50, 4, kPoints}) * 3 + 5,
                                random_clouds({50, 4, kGlobals}, 2) * globals(spread.unsqueeze(0)) - spread[0][3]},
                               2);
  autoencoder(backbone).note(z);
  const LatentSpec spec = autoencoder(backbone).latent();
  CATCH_CHECK(spec.globals == kGlobals);
  const at::Tensor seen = latents_for_denoiser(spec, z);
  const at::Tensor by_channel = locals(seen).movedim(1, 0).flatten(1);
  CATCH_CHECK(gap(by_channel.mean(1), at::zeros({4})) < 1e-4);
  CATCH_CHECK(gap(by_channel.std(1, false), at::ones({4})) < 1e-4);
  CATCH_CHECK(gap(globals(seen).mean(0), at::zeros({4, kGlobals})) < 1e-4);
  CATCH_CHECK(gap(globals(seen).std(0, false), at::ones({4, kGlobals})) < 1e-4);
  CATCH_CHECK(gap(latents_from_denoiser(spec, seen), z) < 1e-3);  // numbers up to 400 in float32
}

CATCH_TEST_CASE("an autoencoder of clouds learns to give their points back", "[points][latent]") {
  ObjectiveRegistry objectives("objective");
  register_objectives(objectives);
  const WeightingRegistry weightings("weighting");
  const LevelSamplerRegistry levels("levels");
  const Config section = Config::parse("{absolute: 1, squared: 1, kl_weight: 0.01}", "t");
  const ObjectivePtr objective = objectives.create(section, "autoencoding", {weightings, levels, {}, {}}, section);
  Model model{
      .spec = {{3, kPoints}, 0}, .parameterisation = {}, .backbone = stirred(kSmall), .device = c10::Device(c10::kCPU)};
  objective->prepare(model);
  NamedTensors weights = model.backbone->parameters().all();
  OptimizerOptions options;
  options.weight_decay = 0.0;
  AdamW optimizer(weights, options);
  const auto distance = [&](std::int64_t points) {
    const c10::NoGradGuard no_grad;
    const at::Tensor held_out = random_clouds({8, 3, points}, 77);
    const AutoencoderNetwork& network = autoencoder(model.backbone);
    return (network.decode(network.encode(held_out).mean) - held_out).abs().mean().item<double>();
  };
  const double before = distance(kPoints), before_of_more = distance(60);
  for (std::int64_t step = 1; step <= 40; ++step) {
    const StepContext context{.seed = 1, .step = static_cast<std::uint64_t>(step), .batch = 8, .steps = 40};
    objective->loss(model, random_clouds({8, 3, kPoints}, 200 + context.step), {}, context).mean().backward();
    optimizer.step(5e-3, step, at::zeros({}));
    optimizer.zero_gradients();
    objective->updated(model, context);
  }
  CATCH_CHECK(distance(kPoints) < 0.6 * before);
  CATCH_CHECK(distance(60) < 0.8 * before_of_more);  // of three times as many points as it learned from
}

CATCH_TEST_CASE("the latent codec adds columns of the whole and takes any number of points", "[points][latent]") {
  const CodecPtr codec = latent_codec(shared(network(kSmall)));
  CATCH_CHECK(latent_globals(*codec) == kGlobals);
  CATCH_CHECK(latent_globals(*cloud_codec()) == 0);
  for (const std::int64_t points : {1, 20, 33}) {
    CATCH_CHECK(codec->encoded_shape({3, points}) == std::vector<std::int64_t>{4, points + kGlobals});
    const at::Tensor raw = random_clouds({3, 3, points});
    const at::Tensor z = codec->encode(raw);
    CATCH_CHECK(z.sizes() == at::IntArrayRef({3, 4, points + kGlobals}));
    CATCH_CHECK(gap(codec->decode(z), raw) < 1e-5);
  }
  CATCH_CHECK(message_of<DataError>([&] {
                codec->encoded_shape({6, 20});
              }).find("expected clouds [3, points]") != std::string::npos);
  CATCH_CHECK(message_of<DataError>([&] {
                codec->decode(at::zeros({1, 4, kGlobals}));
              }).find("of 3 columns of latents the last 3 are of the whole cloud") != std::string::npos);
}

CATCH_TEST_CASE("what is no cloud, and tiles of latents of clouds, are refused", "[points][latent]") {
  const auto refusal = [](const DataSpec& spec) { return message_of<ConfigError>([&] { network(kSmall, spec); }); };
  CATCH_CHECK(refusal({{1, 28, 28}, 0}).find("works on clouds [3 or more, points], the data is [1, 28, 28]") !=
              std::string::npos);
  CATCH_CHECK(refusal({{2, 20}, 0}).find("the data is [2, 20]") != std::string::npos);
  CATCH_CHECK(message_of<ConfigError>([] { tiled(shared(network(kSmall)), {.side = 8}); }).find("have no tiles") !=
              std::string::npos);
  CATCH_CHECK_NOTHROW(tiled(shared(network(kSmall)), {.by_sample = true}));
}

CATCH_TEST_CASE("a denoiser knows the columns of the whole, and the others are a set", "[points][latent]") {
  const c10::NoGradGuard no_grad;
  const at::Tensor z = random_clouds({3, 4, kPoints + kGlobals}), noise = at::tensor({10.0F, 500.0F, 900.0F});
  const DataSpec spec{{4, kPoints + kGlobals}, 0};
  for (const std::string more : {"", ", inducing: 5", ", told_by: tokens, frequencies: 2"}) {
    CATCH_CAPTURE(more);
    const std::string plain = "{type: point_transformer, features: 16, depth: 2, heads: 2" + more;
    const auto backbone = stirred(plain + ", globals: 3}", spec);
    const at::Tensor output = backbone->forward(z, noise, {});
    const at::Tensor moved = backbone->forward(at::cat({locals(z).index_select(2, order), globals(z)}, 2), noise, {});
    CATCH_CHECK(gap(locals(moved), locals(output).index_select(2, order)) < 1e-5);
    CATCH_CHECK(gap(globals(moved), globals(output)) < 1e-5);
    const at::Tensor turned = backbone->forward(at::cat({locals(z), globals(z).flip(2)}, 2), noise, {});
    CATCH_CHECK(gap(globals(turned), globals(output).flip(2)) > 1e-3);
    CATCH_CHECK(backbone->forward(random_clouds({3, 4, 50}), noise, {}).size(2) == 50);
    CATCH_CHECK(message_of<DataError>([&] {
                  backbone->forward(globals(z), noise, {});
                }).find("of 3 columns the last 3 are globals") != std::string::npos);
    // Every other weight starts as without them.
    const auto with = network(plain + ", globals: 3}", spec), without = network(plain + "}", spec);
    std::size_t same = 0;
    for (const auto& [name, weight] : without->parameters().all())
      for (const auto& [other, its] : with->parameters().all())
        if (name == other && at::equal(weight, its)) ++same;
    CATCH_CHECK(same == without->parameters().all().size());
    CATCH_CHECK(with->parameters().all().size() == same + 1);
  }
  CATCH_CHECK(message_of<ConfigError>([] {
                network("{type: point_transformer, globals: 20}", {{4, 20}, 0});
              }).find("globals: must be fewer than the 20 columns") != std::string::npos);
}

CATCH_TEST_CASE("a denoiser of latents must know as many columns of the whole as there are", "[points][latent]") {
  BackboneRegistry registry("backbone");
  points::register_cloud_backbones(registry);
  const CodecPtr latents = latent_codec(shared(network(kSmall)));
  const auto refusal = [&](const std::string& yaml, const CodecPtr& codec) {
    const Config section = Config::parse(yaml, "t");
    const auto& entry = registry.find(section, "");
    return message_of<ConfigError>([&] { expect_globals(entry.info, registry.read(section, entry), *codec); });
  };
  CATCH_CHECK(refusal("{type: point_transformer, globals: 3}", latents).empty());
  CATCH_CHECK(refusal("{type: point_transformer}", cloud_codec()).empty());
  CATCH_CHECK(refusal("{type: pointwise}", cloud_codec()).empty());
  CATCH_CHECK(refusal("{type: point_transformer}", latents).find("globals: must be 3, the columns of the sample") !=
              std::string::npos);
  CATCH_CHECK(refusal("{type: point_transformer, globals: 3}", cloud_codec()).find("globals: must be 0, ") !=
              std::string::npos);
  CATCH_CHECK(refusal("{type: pointwise}", latents).find("\"pointwise\" does not tell the 3 columns of the sample") !=
              std::string::npos);
}

namespace {

const char* const kAutoencoder = R"(
seed: 1
precision: float32
dataset: {type: parametric_shapes, size: 16, points: 24}
codec: {type: point_cloud, normalise: unit-box, gain: 2}
objective: {type: autoencoding, kl_weight: 0.1}
backbone: {type: point_autoencoder, features: 8, depth: 1, globals: 2}
train: {steps: 2, batch: 4, length: 20, checkpoint_every: 2}
evaluate: {n: 4, metrics: [cloud_pairs]}
)";

const char* const kLatent = R"(
seed: 1
precision: float32
dataset: {type: parametric_shapes, size: 16, points: 24}
objective: denoising
backbone: {type: point_transformer, features: 16, depth: 1, heads: 2, inducing: 4, globals: 2}
train: {steps: 2, batch: 4, checkpoint_every: 2}
sampler: ddim
grid: {type: trailing, steps: 2}
evaluate: {n: 4, metrics: ["cloud_sets protocol=lion-box distances=[cd]"]}
)";

}  // namespace

CATCH_TEST_CASE("shapes are drawn in an autoencoder's latents from end to end", "[points][latent][program]") {
  const test::Scratch scratch("cloud_latents");
  const std::string cache = "XDG_CACHE_HOME=" + (scratch / "cache").string();
  const std::string autoencoder = (scratch / "a").string(), run = (scratch / "l").string();
  write_file(scratch / "a.yaml", kAutoencoder);
  write_file(scratch / "l.yaml", concat(kLatent, "codec: {type: latent, autoencoder: ", autoencoder, "}\n"));
  const auto done = [&](const std::string& command) {
    const test::Outcome outcome = test::run_program(command, scratch, cache);
    CATCH_CAPTURE(outcome.err);
    CATCH_REQUIRE(outcome.code == 0);
  };
  done("run " + (scratch / "a.yaml").string() + " out=" + autoencoder);
  const nlohmann::json back = nlohmann::json::parse(read_file(scratch / "a" / "metrics.json"));
  // Two steps from the identity: much nearer than other points of the same shape.
  CATCH_CHECK(back["cd_pairs"].get<double>() < 0.5 * back["cd_pairs_floor"].get<double>());
  CATCH_CHECK(back["f_score_pairs_ceiling"].get<double>() <= 1.0);
  done("run " + (scratch / "l.yaml").string() + " out=" + run);
  const nlohmann::json drawn = nlohmann::json::parse(read_file(scratch / "l" / "metrics.json"));
  CATCH_CHECK(drawn["nna_cd_lion_box"].is_number());
  done("sample " + run + " n=2 sampling.length=42 out=" + run + "/s.npz");  // 40 points, 2 columns of the whole
  CATCH_CHECK(read_npz(run + "/s.npz").at("arr_0").shape == std::vector<std::int64_t>{2, 40, 3});
  const test::Outcome refused =
      test::run_program("train " + (scratch / "l.yaml").string() + " out=" + run + "2 train.length=12", scratch, cache);
  CATCH_CHECK(refused.code == 2);
  CATCH_CHECK(refused.err.find("train.length: latents with columns of the sample as a whole") != std::string::npos);
  const test::Outcome grown =
      test::run_program("sample " + run + " n=1 sampling.grown_from=12 out=" + run + "3", scratch, cache);
  CATCH_CHECK(grown.err.find("sampling.grown_from: latents with columns of the sample as a whole") !=
              std::string::npos);
}
