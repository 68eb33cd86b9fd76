// What the picture denoisers of our own are told and give, beside x and the noise number.

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/caption.h"
#include "core/guidance.h"
#include "core/model.h"
#include "core/objective.h"
#include "modalities/images/list.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

const char* const kNetworks[] = {"{type: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: [4]",
                                 "{type: dit, patch: 2, features: 16, depth: 2, heads: 2"};

// Weights start such that the output is 0; these are as after some training.
std::unique_ptr<Backbone> trained(const std::string& yaml, const DataSpec& spec = {{2, 8, 8}, 3}) {
  BackboneRegistry registry("backbone");
  image::register_backbones(registry);
  auto backbone = registry.create(Config::parse(yaml, "t"), "", spec, 5);
  const c10::NoGradGuard no_grad;
  std::int64_t count = 0;
  for (auto [name, weight] : backbone->parameters().all())
    if (weight.requires_grad())
      weight.add_(at::linspace(-0.2, 0.2, weight.numel()).reshape(weight.sizes()).cos() * 0.02 * (1 + count++ % 3));
  return backbone;
}

const at::Tensor x = at::linspace(-1, 1, 3 * 2 * 64).reshape({3, 2, 8, 8}).sin();
const at::Tensor noise = at::tensor({10.0f, 500.0f, 900.0f});
const Condition label{{"label", at::tensor({0, 1, 2}, at::kLong)}};

Condition with(const char* name, const at::Tensor& value) {
  Condition condition = label;
  condition[name] = value;
  return condition;
}

}  // namespace

CATCH_TEST_CASE("a self-conditioned network reads its last estimate; none is zeros", "[images][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = trained(network + ", self_conditioning: true}");
    CATCH_CHECK(backbone->takes_estimate());
    const at::Tensor plain = backbone->forward(x, noise, label);
    CATCH_CHECK(plain.sizes() == x.sizes());
    CATCH_CHECK(at::equal(plain, backbone->forward(x, noise, with("estimate", at::zeros_like(x)))));
    CATCH_CHECK((plain - backbone->forward(x, noise, with("estimate", at::ones_like(x)))).abs().max().item<double>() >
                1e-4);
    // One that is not does not look.
    const auto without = trained(network + "}");
    CATCH_CHECK(at::equal(without->forward(x, noise, label), without->forward(x, noise, with("estimate", x))));
  }
}

CATCH_TEST_CASE("a network that learns a variance gives twice the channels", "[images][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = trained(network + ", learns_variance: true, self_conditioning: true}");
    CATCH_CHECK(backbone->learns_variance());
    const at::Tensor output = backbone->forward(x, noise, label);
    CATCH_REQUIRE(output.sizes() == at::IntArrayRef({3, 4, 8, 8}));
    // The two halves are different outputs.
    CATCH_CHECK((output.narrow(1, 0, 2) - output.narrow(1, 2, 2)).abs().max().item<double>() > 1e-4);
  }
}

CATCH_TEST_CASE("a network is told where a map goes and how strong its guidance is, or does not look",
                "[images][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kNetworks)
    for (const std::string told : {"target", "guidance"}) {
      CATCH_CAPTURE(network, told);
      const auto backbone = trained(network + ", takes_" + told + ": true}"), without = trained(network + "}");
      const Condition low = with(told.c_str(), at::full({3}, 1.0f)), high = with(told.c_str(), at::full({3}, 5.0f));
      CATCH_CHECK((backbone->forward(x, noise, low) - backbone->forward(x, noise, high)).abs().max().item<double>() >
                  1e-6);
      CATCH_CHECK(at::equal(without->forward(x, noise, low), without->forward(x, noise, high)));
    }
}

CATCH_TEST_CASE("a network reads captions, each row its own; none is the empty one", "[images][backbone][text]") {
  const c10::NoGradGuard no_grad;
  const auto captions = [](const std::vector<std::string>& texts) {
    std::vector<at::Tensor> rows;
    for (const std::string& text : texts) rows.push_back(text_bytes(text, 24));
    return at::stack(rows);
  };
  for (const std::string network : kNetworks) {
    CATCH_CAPTURE(network);
    BackboneRegistry registry("backbone");
    image::register_backbones(registry);
    const auto make = [&](const std::string& more, std::int64_t caption_bytes) {
      return trained(network + more + "}", {{2, 8, 8}, 3, caption_bytes});
    };
    const auto backbone = make(", words: [a, red, blue, above], text_features: 16, text_depth: 1, text_heads: 2", 24);
    const auto run = [&](const std::vector<std::string>& texts) {
      return backbone->forward(x, noise, with("caption", captions(texts)));
    };
    const at::Tensor output = run({"a red a", "a blue a", ""});
    CATCH_CHECK((output - run({"a blue a", "a blue a", ""}))
                    .abs()
                    .flatten(1)
                    .amax(1)
                    .gt(1e-5)
                    .equal(at::tensor({1, 0, 0}).to(at::kBool)));
    // The order of words counts, what stands behind the text does not, and no caption is the empty one.
    CATCH_CHECK((output - run({"a a red", "a blue a", ""})).abs().max().item<double>() > 1e-6);
    CATCH_CHECK(at::allclose(output[2], backbone->forward(x, noise, label)[2], 1e-5, 1e-6));
    CATCH_CHECK_THROWS_WITH(make(", words: [a]", 0), Catch::Contains("words: the data has no captions"));
    CATCH_CHECK_THROWS_WITH(make("", 24), Catch::Contains("words: the data has captions"));
  }
}

CATCH_TEST_CASE("the second network of a cascade reads the coarser picture and how noisy it is", "[images][coarse]") {
  const c10::NoGradGuard no_grad;
  const at::Tensor coarse = at::linspace(-1, 1, 3 * 2 * 16).reshape({3, 2, 4, 4}).cos();
  const auto told = [&](const at::Tensor& picture, double u) {
    Condition condition = with("coarse", picture);
    condition["coarse_noise"] = at::full({3}, u);
    return condition;
  };
  const auto gap = [](const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); };
  for (const std::string network : kNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = trained(network + ", coarse: 2}");
    CATCH_CHECK(backbone->coarse_factor() == 2);
    const at::Tensor output = backbone->forward(x, noise, told(coarse, 0.25));
    CATCH_CHECK(output.sizes() == x.sizes());
    CATCH_CHECK(gap(output, backbone->forward(x, noise, told(-coarse, 0.25))) > 1e-4);
    CATCH_CHECK(gap(output, backbone->forward(x, noise, told(coarse, 0.75))) > 1e-4);
    CATCH_CHECK_THROWS_WITH(backbone->forward(x, noise, label), Catch::Contains("cascade=THIS"));
    CATCH_CHECK_THROWS_WITH(trained(network + ", coarse: 3}"),
                            Catch::Contains("3 does not divide samples of [2, 8, 8]"));
    const auto without = trained(network + "}");
    CATCH_CHECK(without->coarse_factor() == 0);
    CATCH_CHECK(at::equal(without->forward(x, noise, label), without->forward(x, noise, told(coarse, 0.25))));
  }
}

CATCH_TEST_CASE("a negative prompt stands in for the empty one", "[images][guidance][text]") {
  const c10::NoGradGuard no_grad;
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  Model model{{{2, 8, 8}, 0, 24}, {}, nullptr};
  model.parameterisation.schedule = schedules.create(Config::parse("{type: cosine}", "t"), "");
  model.backbone =
      trained(std::string(kNetworks[0]) + ", words: [a, red, blue], text_features: 16, text_depth: 1, text_heads: 2}",
              model.spec);
  const auto caption = [](const std::string& text) {
    return Condition{{"caption", at::stack(std::vector<at::Tensor>(3, text_bytes(text, 24)))}};
  };
  const auto answer = [&](const std::string& text, const std::string& guidance) {
    GuidanceRegistry registry("guidance");
    register_guidance(registry);
    MeasurementRegistry measurements("measurement");
    const Config section = Config::parse(guidance, "t");
    const Guidance made = registry.create(section, "", GuidanceParts{registry, measurements}, section);
    const Condition condition = caption(text);
    const Query query{model.parameterisation.schedule->at(0.5)};
    return with_guidance(model.denoiser(condition), made, {&model, condition, 0, 3})(Latent::of(x), query)
        .front()
        .data.main();
  };
  const at::Tensor own = answer("a red", "{type: none}"), other = answer("a blue", "{type: none}"),
                   plain = answer("", "{type: none}");
  const auto gap = [](const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); };
  CATCH_REQUIRE(gap(own, other) > 1e-3);
  for (const std::string type : {"cfg", "cfg_zero", "apg"}) {
    CATCH_CAPTURE(type);
    const at::Tensor guided = answer("a red", "{type: " + type + ", scale: 3}");
    CATCH_CHECK(at::equal(guided, answer("a red", "{type: " + type + ", scale: 3, negative_prompt: \"\"}")));
    CATCH_CHECK(gap(guided, answer("a red", "{type: " + type + ", scale: 3, negative_prompt: a blue}")) > 1e-4);
  }
  // Ho and Salimans 2022, eq. 6, with another text for the null one; float32, answers of size 1.
  CATCH_CHECK(gap(answer("a red", "{type: cfg, scale: 3}"), own * 3 - plain * 2) < 2e-5);
  CATCH_CHECK(gap(answer("a red", "{type: cfg, scale: 3, negative_prompt: a blue}"), own * 3 - other * 2) < 2e-5);
  CATCH_CHECK(gap(answer("a red", "{type: cfg, scale: 3, negative_prompt: a red}"), own) < 2e-5);
  CATCH_CHECK_THROWS_WITH(answer("a red", "{type: cfg, negative_prompt: a red that does not fit here}"),
                          Catch::Contains("24"));
  const Guidance refused = [&] {
    GuidanceRegistry registry("guidance");
    register_guidance(registry);
    MeasurementRegistry measurements("measurement");
    const Config section = Config::parse("{type: cfg, negative_prompt: a red}", "t");
    return registry.create(section, "", GuidanceParts{registry, measurements}, section);
  }();
  CATCH_CHECK_THROWS_WITH(with_guidance(model.denoiser(label), refused, {&model, label, 0, 3}),
                          Catch::Contains("negative_prompt: the samples have no captions"));
}

CATCH_TEST_CASE("objectives with derivatives train in bfloat16 as in float32", "[images][backbone][objective]") {
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  ObjectiveRegistry objectives("objective");
  register_objectives(objectives);
  WeightingRegistry weightings("weighting");
  register_weightings(weightings);
  LevelSamplerRegistry levels("levels");
  register_level_samplers(levels);
  for (const std::string network : kNetworks)
    for (const std::string name : {"mean_flow", "continuous_consistency"}) {
      CATCH_CAPTURE(network, name);
      const Config section = Config::parse("{norm_power: 0.0}", "t");
      const ObjectivePtr objective = objectives.create(section, name, {weightings, levels, {}, {}}, section);
      const auto loss = [&](Precision precision) {
        Model model{.spec = {{2, 8, 8}, 3},
                    .parameterisation = {},
                    .backbone = trained(network + ", takes_target: true}"),
                    .device = c10::Device(c10::kCPU),
                    .precision = precision};
        model.parameterisation.schedule = schedules.create(Config::parse("{}", "t"), "cosine");
        model.parameterisation.prediction = Prediction::kV;
        objective->prepare(model);
        const at::Tensor each = objective->loss(model, x, label, {.seed = 3, .step = 1, .batch = 3, .steps = 10});
        each.sum().backward();
        return each.detach();
      };
      CATCH_CHECK(at::allclose(loss(Precision::kBfloat16), loss(Precision::kFloat32), 0.05, 0.01));
    }
}
