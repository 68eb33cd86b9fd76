// The networks of sounds as backbones: where they start, what they are told, what they learn, what they refuse.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/caption.h"
#include "core/model.h"
#include "core/nn/diffwave.h"
#include "core/nn/perturbation.h"
#include "core/objective.h"
#include "core/optimizer.h"
#include "modalities/images/list.h"
#include "tests/audio/networks.h"
#include "tests/catch.h"

using namespace thaw;
using thaw::testing::fresh;
using thaw::testing::gap;
using thaw::testing::kSoundNetworks;
using thaw::testing::sounds;
using thaw::testing::stirred;

namespace {

const at::Tensor x = sounds({3, 2, 32});
const at::Tensor noise = at::tensor({10.0f, 500.0f, 900.0f});
const Condition label{{"label", at::tensor({0, 1, 2}, at::kLong)}};

Condition with(const char* name, const at::Tensor& value) {
  Condition condition = label;
  condition[name] = value;
  return condition;
}

std::string refusal(const std::string& yaml, const DataSpec& spec = {{2, 32}, 3}) {
  try {
    fresh(yaml, spec);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

CATCH_TEST_CASE("a network of sounds starts as exactly zero", "[audio][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kSoundNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = fresh(network + "}");
    CATCH_CHECK(at::equal(backbone->forward(x, noise, label), at::zeros_like(x)));
    CATCH_CHECK(stirred(network + "}")->forward(x, noise, label).std().item<double>() > 1e-2);
  }
}

CATCH_TEST_CASE("a network of sounds takes other lengths that its patches and levels tile", "[audio][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kSoundNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + "}");
    for (const std::int64_t length : {8, 64, 20}) {
      const at::Tensor output = backbone->forward(sounds({3, 2, length}), noise, label);
      CATCH_CHECK(output.sizes() == at::IntArrayRef({3, 2, length}));
      CATCH_CHECK(at::isfinite(output).all().item<bool>());
    }
  }
}

CATCH_TEST_CASE("sounds of a batch do not see each other", "[audio][backbone]") {
  const c10::NoGradGuard no_grad;
  const at::Tensor order = at::tensor({2, 0, 1}, at::kLong);
  for (const std::string network : kSoundNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + "}");
    const at::Tensor output = backbone->forward(x, noise, label);
    const at::Tensor other = backbone->forward(x.index_select(0, order), noise.index_select(0, order),
                                               {{"label", label.at("label").index_select(0, order)}});
    CATCH_CHECK(gap(output.index_select(0, order), other) < 1e-5);
    CATCH_CHECK(gap(output, other) > 1e-3);
  }
}

CATCH_TEST_CASE("an output of diffwave sees exactly its reach", "[audio][backbone]") {
  const c10::NoGradGuard no_grad;
  Parameters parameters(5);
  nn::DiffWaveOptions options;
  options.width = 12;
  options.depth = 5;
  options.cycle = 3;
  options.embedding = 24;
  const nn::DiffWave network(Scope(parameters), options);
  thaw::testing::stir(parameters.all());
  // Dilations 1, 2, 4, 1, 2, of which each reaches its dilation to either side.
  CATCH_REQUIRE(network.reach() == 1 + 2 * (1 + 2 + 4 + 1 + 2));
  const at::Tensor one = at::zeros({1, 1, 64}), time = at::tensor({500.0f});
  at::Tensor other = one.clone();
  other[0][0][32] = 1.0;
  const at::Tensor moved = (network(one, {time}) - network(other, {time})).abs()[0][0];
  for (std::int64_t place = 0; place < 64; ++place) {
    CATCH_CAPTURE(place);
    CATCH_CHECK((moved[place].item<double>() > 0.0) == (std::abs(place - 32) <= network.reach() / 2));
  }
}

CATCH_TEST_CASE("equal levels of all places are the level of the sound; others are heard", "[audio][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : {"{type: diffwave, width: 12, depth: 4, cycle: 3, embedding: 24",
                                    "{type: sound_transformer, patch: 1, features: 24, depth: 2, heads: 2"}) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + ", takes_target: true}");
    CATCH_CHECK(backbone->takes_parts());
    const Condition told = with("target", at::tensor({5.0f, 1.0f, 800.0f}));
    const at::Tensor whole = backbone->forward(x, noise, told);
    at::Tensor levels = noise.unsqueeze(1).expand({3, 32}).contiguous();
    CATCH_CHECK(gap(backbone->forward(x, levels, told), whole) < 1e-5);
    levels[1][31] = 0.0;  // the last place of the second sound is clean
    const at::Tensor output = backbone->forward(x, levels, told);
    CATCH_CHECK(gap(output[1], whole[1]) > 1e-4);
    CATCH_CHECK(gap(output[0], whole[0]) < 1e-5);
  }
  CATCH_CHECK(!fresh(std::string(kSoundNetworks[1]) + "}")->takes_parts());
  CATCH_CHECK(!fresh(std::string(kSoundNetworks[2]) + "}")->takes_parts());
}

CATCH_TEST_CASE("every weight of a network of sounds learns, with gradients that are finite", "[audio][backbone]") {
  for (const std::string network : kSoundNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone =
        stirred(network + ", takes_target: true, takes_guidance: true, words: [a, b], text_features: 8, text_heads: 2}",
                {{2, 32}, 3, 8});
    Condition told = with(
        "caption", at::stack(std::vector<at::Tensor>{text_bytes("a b", 8), text_bytes("b", 8), text_bytes("zed", 8)}));
    told["target"] = noise / 2;
    told["guidance"] = at::tensor({1.0f, 2.0f, 3.0f});
    (backbone->forward(x, noise, told) * sounds({3, 2, 32}).cos()).sum().backward();
    for (const auto& [name, weight] : backbone->parameters().all()) {
      if (!weight.requires_grad()) continue;
      CATCH_CAPTURE(name);
      CATCH_REQUIRE(weight.grad().defined());
      CATCH_CHECK(at::isfinite(weight.grad()).all().item<bool>());
      CATCH_CHECK(weight.grad().abs().max().item<double>() > 0.0);
    }
  }
}

CATCH_TEST_CASE("a network of sounds hears what it is told and gives what it is asked for", "[audio][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kSoundNetworks) {
    CATCH_CAPTURE(network);
    const auto plain = stirred(network + "}");
    const at::Tensor output = plain->forward(x, noise, label);
    CATCH_CHECK(gap(output, plain->forward(x, noise * 0.5, label)) > 1e-4);
    CATCH_CHECK(gap(output, plain->forward(x, noise, {{"label", at::tensor({1, 1, 3}, at::kLong)}})) > 1e-4);
    for (const std::string told : {"target", "guidance"}) {
      CATCH_CAPTURE(told);
      const auto backbone = stirred(network + ", takes_" + told + ": true}");
      const Condition low = with(told.c_str(), at::full({3}, 1.0f)), high = with(told.c_str(), at::full({3}, 5.0f));
      CATCH_CHECK(gap(backbone->forward(x, noise, low), backbone->forward(x, noise, high)) > 1e-6);
      CATCH_CHECK(at::equal(plain->forward(x, noise, low), output));
    }
    const auto estimate = stirred(network + ", self_conditioning: true, learns_variance: true}");
    const at::Tensor both = estimate->forward(x, noise, with("estimate", x));
    CATCH_REQUIRE(both.sizes() == at::IntArrayRef({3, 4, 32}));
    CATCH_CHECK(gap(both, estimate->forward(x, noise, label)) > 1e-4);
    const auto fine = stirred(network + ", coarse: 4}");
    Condition told = with("coarse", sounds({3, 2, 8}));
    told["coarse_noise"] = at::full({3}, 0.25);
    const at::Tensor seen = fine->forward(x, noise, told);
    told["coarse"] = -told["coarse"];
    CATCH_CHECK(gap(seen, fine->forward(x, noise, told)) > 1e-4);
    const auto going_on = stirred(network + ", given: true}");
    Condition given = with("given", x);
    given["given_mask"] = at::ones({3, 1, 32});
    CATCH_CHECK(gap(going_on->forward(x, noise, given), going_on->forward(x, noise, label)) > 1e-4);
  }
}

CATCH_TEST_CASE("each block with attention of a network of sounds can be weakened on purpose", "[audio][backbone]") {
  const c10::NoGradGuard no_grad;
  const std::int64_t layers[] = {0, 4, 2};
  for (std::size_t i = 0; i < std::size(kSoundNetworks); ++i) {
    const std::string network = kSoundNetworks[i];
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + "}");
    CATCH_REQUIRE(backbone->attention_layers() == layers[i]);
    const at::Tensor output = backbone->forward(x, noise, label);
    const auto weakened = [&](Perturbation::Kind kind, std::int64_t layer) {
      const Perturbation perturbation{kind, {layer}};
      const nn::PerturbedPass pass(perturbation);
      return backbone->forward(x, noise, label);
    };
    for (const auto kind : {Perturbation::Kind::kIdentityAttention, Perturbation::Kind::kSkippedLayer})
      for (std::int64_t layer = 0; layer < layers[i]; ++layer) CATCH_CHECK(gap(output, weakened(kind, layer)) > 1e-6);
    CATCH_CHECK(at::equal(output, weakened(Perturbation::Kind::kSkippedLayer, layers[i])));
  }
}

CATCH_TEST_CASE("a network of sounds works in bfloat16, forward-mode derivatives included", "[audio][backbone]") {
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  ObjectiveRegistry objectives("objective");
  register_objectives(objectives);
  WeightingRegistry weightings("weighting");
  register_weightings(weightings);
  LevelSamplerRegistry levels("levels");
  register_level_samplers(levels);
  for (const std::string network : kSoundNetworks) {
    CATCH_CAPTURE(network);
    Model model{.spec = {{2, 32}, 3},
                .parameterisation = {},
                .backbone = stirred(network + ", takes_target: true}"),
                .device = c10::Device(c10::kCPU)};
    model.parameterisation.schedule = schedules.create(Config::parse("{}", "t"), "cosine");
    const Config section = Config::parse("{norm_power: 0.0}", "t");
    const ObjectivePtr objective = objectives.create(section, "mean_flow", {weightings, levels, {}, {}}, section);
    objective->prepare(model);
    const auto loss = [&](Precision precision) {
      model.precision = precision;
      return objective->loss(model, x, label, {.seed = 3, .step = 1, .batch = 3, .steps = 10}).detach();
    };
    // 8 bits a number
    CATCH_CHECK(at::allclose(loss(Precision::kBfloat16), loss(Precision::kFloat32), 0.1, 0.02));
  }
}

CATCH_TEST_CASE("a few steps on sums of sines make the loss of a network of sounds clearly smaller",
                "[audio][backbone]") {
  // Sounds of two sines; the network sees them under noise of their own size and shall give the sounds.
  const at::Tensor time = at::arange(48, at::kFloat), phase = at::arange(4, at::kFloat).reshape({4, 1, 1});
  const at::Tensor clean = (time * 0.7 + phase).sin() + 0.5 * (time * 0.2 - 2 * phase).sin();
  const at::Tensor noisy = clean + (at::arange(4 * 48) * 2.4).sin().mul(37.0).sin().reshape({4, 1, 48});
  for (const std::string network : kSoundNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = fresh(network + "}", {{1, 48}, 0});
    OptimizerOptions options;
    options.weight_decay = 0.0;
    AdamW optimizer(backbone->parameters().all(), options);
    const at::Tensor is_void = at::zeros({}, at::kFloat), level = at::full({4}, 500.0f);
    double first = 0.0, last = 0.0;
    for (std::int64_t step = 1; step <= 20; ++step) {
      const at::Tensor loss = (backbone->forward(noisy, level, {}) - clean).square().mean();
      last = loss.item<double>();
      if (step == 1) first = last;
      loss.backward();
      optimizer.step(5e-3, step, is_void);
      optimizer.zero_gradients();
    }
    CATCH_CHECK(first == Approx(clean.square().mean().item<double>()));  // the network starts as zero
    CATCH_CHECK(last < 0.5 * first);
  }
}

CATCH_TEST_CASE("a network of sounds that does not fit the data is refused by key", "[audio][backbone]") {
  for (const char* type : {"diffwave", "unet1d", "sound_transformer"})
    CATCH_CHECK_THAT(refusal(std::string("{type: ") + type + "}", {{3, 8, 8}}),
                     Catch::Contains("type") && Catch::Contains("[3, 8, 8]"));
  CATCH_CHECK_THAT(refusal("{type: unet1d, patch: 3}"), Catch::Contains("patch") && Catch::Contains("length 32"));
  CATCH_CHECK_THAT(refusal("{type: unet1d, multipliers: [1, 1, 1, 1], factor: 4}"),
                   Catch::Contains("step to level 4 divides 2 places by 4"));
  CATCH_CHECK_THAT(refusal("{type: unet1d, multipliers: []}"), Catch::Contains("multipliers"));
  CATCH_CHECK_THAT(refusal("{type: sound_transformer, patch: 5}"), Catch::Contains("5 does not divide"));
  CATCH_CHECK_THAT(refusal("{type: sound_transformer, features: 30, heads: 6}"),
                   Catch::Contains("multiple of twice the heads"));
  CATCH_CHECK_THAT(refusal("{type: diffwave, coarse: 3}"), Catch::Contains("3 does not divide"));
  CATCH_CHECK_THAT(refusal("{type: diffwave, words: [a]}"), Catch::Contains("no captions"));
}

CATCH_TEST_CASE("the networks of pictures take spectrograms, whose sides are not equal", "[audio][backbone]") {
  const c10::NoGradGuard no_grad;
  BackboneRegistry registry("backbone");
  image::register_backbones(registry);
  const DataSpec spec{{1, 64, 40}, 3};
  const at::Tensor pictures = sounds({3, 1, 64, 40});
  for (const char* network : {"{type: unet, width: 8, multipliers: [1, 2, 2, 2], attention: [8]}",
                              "{type: unet, width: 8, patch: 2, multipliers: [1, 2], attention: [16]}",
                              "{type: dit, patch: 4, features: 24, depth: 2, heads: 2}"}) {
    CATCH_CAPTURE(network);
    const auto backbone = registry.create(Config::parse(network, "t"), "", spec, 5);
    thaw::testing::stir(backbone->parameters().all());
    const at::Tensor output = backbone->forward(pictures, noise, label);
    CATCH_CHECK(output.sizes() == pictures.sizes());
    CATCH_CHECK(output.std().item<double>() > 1e-2);
  }
  try {
    registry.create(Config::parse("{type: unet, multipliers: [1, 1, 1, 1, 1]}", "t"), "", spec, 5);
    CATCH_FAIL("40 is halved three times only");
  } catch (const ConfigError& error) {
    CATCH_CHECK_THAT(error.what(), Catch::Contains("halve the picture 4 times, but its side is 40"));
  }
}
