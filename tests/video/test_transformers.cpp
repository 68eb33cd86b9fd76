// The transformers of clips as backbones: where they start, what they are told, what they refuse.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/caption.h"
#include "core/model.h"
#include "core/nn/perturbation.h"
#include "core/objective.h"
#include "tests/catch.h"
#include "tests/video/networks.h"

using namespace thaw;
using thaw::testing::clips;
using thaw::testing::fresh;
using thaw::testing::gap;
using thaw::testing::kClipNetworks;
using thaw::testing::stirred;

namespace {

const at::Tensor x = clips({3, 2, 3, 4, 6});
const at::Tensor noise = at::tensor({10.0f, 500.0f, 900.0f});
const Condition label{{"label", at::tensor({0, 1, 2}, at::kLong)}};

Condition with(const char* name, const at::Tensor& value) {
  Condition condition = label;
  condition[name] = value;
  return condition;
}

std::string refusal(const std::string& yaml, const DataSpec& spec = {{2, 3, 4, 6}, 3}) {
  try {
    fresh(yaml, spec);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

CATCH_TEST_CASE("a transformer of clips starts as exactly zero and every block as the identity", "[video][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kClipNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = fresh(network + "}");
    CATCH_CHECK(at::equal(backbone->forward(x, noise, label), at::zeros_like(x)));
    // With an output that is not zero: whatever the blocks would do is gated away.
    for (const auto& [name, weight] : backbone->parameters().all())
      if (name == "out.weight") weight.normal_();
    const at::Tensor output = backbone->forward(x, noise, label);
    CATCH_CHECK(output.abs().max().item<double>() > 0.1);
    for (const auto& [name, weight] : backbone->parameters().all())
      if (name.ends_with("mlp2.weight") || name.ends_with("project.weight")) weight.mul_(3);
    CATCH_CHECK(at::equal(backbone->forward(x, noise, label), output));
  }
}

CATCH_TEST_CASE("a transformer of clips takes any number of frames and any size that patches tile",
                "[video][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kClipNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + "}");
    for (const std::vector<std::int64_t>& shape :
         {std::vector<std::int64_t>{2, 2, 1, 4, 4}, {2, 2, 7, 4, 6}, {2, 2, 3, 10, 2}}) {
      const at::Tensor output =
          backbone->forward(clips(shape), noise.slice(0, 0, 2), {{"label", at::tensor({0, 1}, at::kLong)}});
      CATCH_CHECK(output.sizes() == at::IntArrayRef(shape));
      CATCH_CHECK(output.std().item<double>() > 1e-2);
    }
    CATCH_CHECK_THROWS_WITH(backbone->forward(clips({3, 2, 3, 5, 6}), noise, label),
                            Catch::Contains("1 x 2 x 2 do not tile [3, 2, 3, 5, 6]"));
    const auto tall = stirred(network + ", patch_time: 3}");
    CATCH_CHECK(tall->forward(x, noise, label).sizes() == x.sizes());
  }
}

CATCH_TEST_CASE("clips of a batch do not see each other", "[video][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kClipNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + "}");
    const at::Tensor order = at::tensor({2, 0, 1}, at::kLong);
    const at::Tensor output = backbone->forward(x, noise, label);
    const at::Tensor other = backbone->forward(x.index_select(0, order), noise.index_select(0, order),
                                               {{"label", label.at("label").index_select(0, order)}});
    CATCH_CHECK(gap(output.index_select(0, order), other) < 1e-5);
    CATCH_CHECK(gap(output, other) > 1e-2);
  }
}

CATCH_TEST_CASE("equal levels of all parts are the level of the clip; others are heard", "[video][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kClipNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + ", takes_target: true}");
    const Condition told = with("target", at::tensor({5.0f, 1.0f, 800.0f}));
    const at::Tensor whole = backbone->forward(x, noise, told), column = noise.reshape({3, 1, 1, 1});
    const auto each = [&](at::IntArrayRef parts) { return column.expand(parts).contiguous(); };
    for (const std::vector<std::int64_t>& parts : {std::vector<std::int64_t>{3, 1, 1, 1}, {3, 3, 1, 1}, {3, 3, 2, 3}})
      CATCH_CHECK(gap(backbone->forward(x, each(parts), told), whole) < 1e-5);
    at::Tensor levels = each({3, 3, 1, 1});
    levels[1][2] = 0.0;  // the last frame of the second clip is clean
    const at::Tensor output = backbone->forward(x, levels, told);
    CATCH_CHECK(gap(output[1], whole[1]) > 1e-3);
    CATCH_CHECK(gap(output[0], whole[0]) < 1e-5);
    CATCH_CHECK_THROWS_WITH(backbone->forward(x, each({3, 2, 1, 1}), told),
                            Catch::Contains("expected [N] or [N, 3, 2, 3] or ones there, got [3, 2, 1, 1]"));
  }
}

CATCH_TEST_CASE("every weight of a transformer of clips learns, with gradients that are finite", "[video][backbone]") {
  for (const std::string network : kClipNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone =
        stirred(network + ", takes_target: true, takes_guidance: true, words: [a, b], text_features: 8, text_heads: 2}",
                {{2, 3, 4, 6}, 3, 8});
    Condition told = with(
        "caption", at::stack(std::vector<at::Tensor>{text_bytes("a b", 8), text_bytes("b", 8), text_bytes("zed", 8)}));
    told["target"] = noise / 2;
    told["guidance"] = at::tensor({1.0f, 2.0f, 3.0f});
    (backbone->forward(x, noise, told) * clips({3, 2, 3, 4, 6}).cos()).sum().backward();
    for (const auto& [name, weight] : backbone->parameters().all()) {
      if (!weight.requires_grad()) continue;
      CATCH_CAPTURE(name);
      CATCH_REQUIRE(weight.grad().defined());
      CATCH_CHECK(at::isfinite(weight.grad()).all().item<bool>());
      CATCH_CHECK(weight.grad().abs().max().item<double>() > 0.0);
    }
  }
}

CATCH_TEST_CASE("a transformer of clips hears what it is told and gives what it is asked for", "[video][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kClipNetworks) {
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
    CATCH_CHECK(estimate->takes_estimate());
    CATCH_REQUIRE(both.sizes() == at::IntArrayRef({3, 4, 3, 4, 6}));
    CATCH_CHECK(gap(both, estimate->forward(x, noise, label)) > 1e-4);
    const auto fine = stirred(network + ", coarse: 2}", {{2, 4, 4, 6}, 3});
    Condition told = with("coarse", clips({3, 2, 2, 2, 3}));
    told["coarse_noise"] = at::full({3}, 0.25);
    const at::Tensor wide = clips({3, 2, 4, 4, 6}), seen = fine->forward(wide, noise, told);
    told["coarse"] = -told["coarse"];
    CATCH_CHECK(gap(seen, fine->forward(wide, noise, told)) > 1e-4);
  }
}

CATCH_TEST_CASE("a transformer of clips reads captions, each row its own", "[video][backbone][text]") {
  const c10::NoGradGuard no_grad;
  const auto captions = [](const std::vector<std::string>& texts) {
    std::vector<at::Tensor> rows;
    for (const std::string& text : texts) rows.push_back(text_bytes(text, 24));
    return with("caption", at::stack(rows));
  };
  for (const std::string network : kClipNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + ", words: [a, red, blue], text_features: 16, text_depth: 1, text_heads: 2}",
                                  {{2, 3, 4, 6}, 3, 24});
    const at::Tensor output = backbone->forward(x, noise, captions({"a red", "a blue", ""}));
    const at::Tensor other = backbone->forward(x, noise, captions({"a blue", "a blue", ""}));
    CATCH_CHECK((output - other).abs().flatten(1).amax(1).gt(1e-5).equal(at::tensor({1, 0, 0}).to(at::kBool)));
    CATCH_CHECK(at::allclose(output[2], backbone->forward(x, noise, label)[2], 1e-5, 1e-6));
  }
}

CATCH_TEST_CASE("each block of a transformer of clips can be weakened on purpose", "[video][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kClipNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + "}");
    CATCH_REQUIRE(backbone->attention_layers() == 2);
    const at::Tensor output = backbone->forward(x, noise, label);
    const auto weakened = [&](Perturbation::Kind kind, std::vector<std::int64_t> layers) {
      const Perturbation perturbation{kind, std::move(layers)};
      const nn::PerturbedPass pass(perturbation);
      return backbone->forward(x, noise, label);
    };
    for (const auto kind : {Perturbation::Kind::kIdentityAttention, Perturbation::Kind::kSkippedLayer})
      for (const std::int64_t layer : {0, 1}) CATCH_CHECK(gap(output, weakened(kind, {layer})) > 1e-5);
    CATCH_CHECK(at::equal(output, weakened(Perturbation::Kind::kSkippedLayer, {2})));
    // Without attention no patch sees another.
    at::Tensor other = x.clone();
    other.slice(3, 0, 2).slice(4, 0, 2).select(2, 0).add_(1);
    const Perturbation perturbation{Perturbation::Kind::kIdentityAttention, {0, 1}};
    const nn::PerturbedPass pass(perturbation);
    const at::Tensor moved = (backbone->forward(x, noise, label) - backbone->forward(other, noise, label)).abs();
    CATCH_CHECK(moved.amax({0, 1}).gt(1e-6).sum().item<std::int64_t>() == 4);
  }
}

CATCH_TEST_CASE("a transformer of clips works in bfloat16, forward-mode derivatives included", "[video][backbone]") {
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  ObjectiveRegistry objectives("objective");
  register_objectives(objectives);
  WeightingRegistry weightings("weighting");
  register_weightings(weightings);
  LevelSamplerRegistry levels("levels");
  register_level_samplers(levels);
  for (const std::string network : kClipNetworks) {
    CATCH_CAPTURE(network);
    Model model{.spec = {{2, 3, 4, 6}, 3},
                .parameterisation = {},
                .backbone = stirred(network + ", takes_target: true}"),
                .device = c10::Device(c10::kCPU)};
    model.parameterisation.schedule = schedules.create(Config::parse("{}", "t"), "cosine");
    const Condition told = with("target", noise / 2);
    const at::Tensor wide = model.raw_output(x, noise, told, Precision::kFloat32).detach();
    const at::Tensor brain = model.raw_output(x, noise, told, Precision::kBfloat16).detach();
    // 8 bits a number
    CATCH_CHECK(gap(wide, brain) < 0.05 * wide.abs().max().item<double>());
    CATCH_CHECK(gap(wide, brain) > 0.0);
    const Config section = Config::parse("{norm_power: 0.0}", "t");
    const ObjectivePtr objective = objectives.create(section, "mean_flow", {weightings, levels, {}, {}}, section);
    objective->prepare(model);
    const auto loss = [&](Precision precision) {
      model.precision = precision;
      return objective->loss(model, x, label, {.seed = 3, .step = 1, .batch = 3, .steps = 10}).detach();
    };
    CATCH_CHECK(at::allclose(loss(Precision::kBfloat16), loss(Precision::kFloat32), 0.1, 0.02));
  }
}

CATCH_TEST_CASE("a transformer of clips that does not fit the data is refused by key", "[video][backbone]") {
  CATCH_CHECK_THAT(refusal("{type: video_dit}", {{3, 8, 8}}), Catch::Contains("type") && Catch::Contains("[3, 8, 8]"));
  CATCH_CHECK_THAT(refusal("{type: video_dit, patch: 4}"), Catch::Contains("patch") && Catch::Contains("4 x 6"));
  CATCH_CHECK_THAT(refusal("{type: video_transformer, patch_time: 2}"),
                   Catch::Contains("patch_time") && Catch::Contains("3 frames"));
  CATCH_CHECK_THAT(refusal("{type: video_dit, features: 26, heads: 2}"), Catch::Contains("multiple of heads and of 4"));
  CATCH_CHECK_THAT(refusal("{type: video_transformer, features: 30, heads: 6}"),
                   Catch::Contains("multiple of twice the heads"));
  CATCH_CHECK_THAT(refusal("{type: video_transformer, words: [a]}"), Catch::Contains("no captions"));
  CATCH_CHECK_THAT(refusal("{type: video_dit, coarse: 2}"), Catch::Contains("2 does not divide"));
}
