// Where in its sound an example lies: datasets tell it, networks are told it (Evans et al. 2024, Stable Audio).

#include <limits>
#include <map>
#include <set>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/model.h"
#include "modalities/images/list.h"
#include "tests/audio/networks.h"
#include "tests/audio/sounds.h"
#include "tests/catch.h"

using namespace thaw;
using namespace thaw::audio::testing;
using thaw::test::Scratch;
using thaw::testing::fresh;
using thaw::testing::gap;
using thaw::testing::kSoundNetworks;
using thaw::testing::sounds;
using thaw::testing::stir;

namespace {

const at::Tensor noise = at::tensor({10.0f, 500.0f});
const at::Tensor none = at::full({2}, std::numeric_limits<float>::quiet_NaN());

Condition told(const at::Tensor& start, const at::Tensor& total) {
  return {{"label", at::tensor({0, 1}, at::kLong)}, {"seconds_start", start}, {"seconds_total", total}};
}

/// The same weights in both, as after some training; those of numbers stay where they start.
void stir_alike(const Backbone& plain, const Backbone& with_numbers) {
  const c10::NoGradGuard no_grad;
  stir(plain.parameters().all());
  std::map<std::string, at::Tensor> own;
  for (const auto& [name, tensor] : with_numbers.parameters().all()) own.emplace(name, tensor);
  for (const auto& [name, tensor] : plain.parameters().all()) own.at(name).copy_(tensor);
}

struct Case {
  std::string yaml;
  std::vector<std::int64_t> shape;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* network : kSoundNetworks) all.push_back({network, {2, 32}});
  all.push_back({"{type: unet, width: 8, multipliers: [1, 2], attention: []", {1, 8, 8}});
  all.push_back({"{type: dit, patch: 2, features: 24, depth: 2, heads: 2", {1, 8, 8}});
  return all;
}

std::unique_ptr<Backbone> make(const Case& a, const std::string& more) {
  if (a.shape.size() == 2) return fresh(a.yaml + more + "}", {a.shape, 3});
  BackboneRegistry registry("backbone");
  image::register_backbones(registry);
  return registry.create(Config::parse(a.yaml + more + "}", "t"), "", {a.shape, 3}, 5);
}

std::string refusal_of(const std::string& numbers) {
  try {
    fresh(kSoundNetworks[0] + std::string(", numbers: ") + numbers + "}");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

CATCH_TEST_CASE(
    "a network that is told numbers starts as one that is not, learns to read them, and hears none in a NaN",
    "[audio][backbone]") {
  for (const Case& a : cases()) {
    CATCH_CAPTURE(a.yaml);
    std::vector<std::int64_t> shape = a.shape;
    shape.insert(shape.begin(), 2);
    const at::Tensor x = sounds(shape), start = at::tensor({0.0f, 1.5f}), total = at::tensor({2.0f, 4.0f});
    const auto plain = make(a, ""), network = make(a, ", numbers: [seconds_start, seconds_total]");
    CATCH_CHECK(plain->takes_numbers().empty());
    CATCH_REQUIRE(network->takes_numbers() == std::vector<std::string>{"seconds_start", "seconds_total"});
    stir_alike(*plain, *network);
    const at::Tensor before = network->forward(x, noise, told(start, total));
    CATCH_CHECK(at::equal(before, plain->forward(x, noise, {{"label", at::tensor({0, 1}, at::kLong)}})));

    before.square().sum().backward();
    int moved = 0;
    for (const auto& [name, weight] : network->parameters().all())
      if (name.find("numbers.") != std::string::npos && name.find("embed2.weight") != std::string::npos)
        moved += weight.grad().abs().max().item<double>() > 1e-6;
    CATCH_CHECK(moved == 2);

    stir(network->parameters().all());
    stir_alike(*plain, *network);
    {
      const c10::NoGradGuard no_grad;
      for (const auto& [name, weight] : network->parameters().all())
        if (name.find("numbers.") != std::string::npos) weight.add_(0.05);
    }
    const at::Tensor after = network->forward(x, noise, told(start, total));
    CATCH_CHECK(gap(after, network->forward(x, noise, told(start + 0.1, total))) > 1e-6);
    CATCH_CHECK(gap(after, network->forward(x, noise, told(start, total + 1))) > 1e-6);
    const at::Tensor untold = network->forward(x, noise, told(none, none));
    CATCH_CHECK(at::equal(untold, plain->forward(x, noise, {{"label", at::tensor({0, 1}, at::kLong)}})));
    untold.sum().backward();
    for (const auto& [name, weight] : network->parameters().all())
      if (weight.grad().defined()) CATCH_REQUIRE(at::isfinite(weight.grad()).all().item<bool>());
    CATCH_CHECK_THROWS_WITH(network->forward(x, noise, {{"seconds_start", start}}),
                            Catch::Contains("was told no seconds_total"));
  }
}

CATCH_TEST_CASE("the unconditional branch is told no numbers", "[audio][backbone]") {
  Model model;
  model.spec = {{2, 32}, 3};
  model.backbone = fresh(kSoundNetworks[0] + std::string(", numbers: [seconds_start, seconds_total]}"));
  const Condition null = model.unconditional(told(at::tensor({0.0f, 1.5f}), at::tensor({2.0f, 4.0f})));
  CATCH_CHECK(at::isnan(null.at("seconds_start")).all().item<bool>());
  CATCH_CHECK(at::isnan(null.at("seconds_total")).all().item<bool>());
  CATCH_CHECK(null.at("label")[0].item<std::int64_t>() == 3);
}

CATCH_TEST_CASE("numbers have names of their own", "[audio][backbone]") {
  CATCH_CHECK(refusal_of("[a, b_2]") == "accepted");
  CATCH_CHECK_THAT(refusal_of("[label]"), Catch::Contains("another thing"));
  CATCH_CHECK_THAT(refusal_of("[a, a]"), Catch::Contains("\"a\" stands twice"));
  CATCH_CHECK_THAT(refusal_of("[a.b]"), Catch::Contains("small letters"));
  CATCH_CHECK_THAT(refusal_of("[a], told_of_sample: mel, mel_hop: 16"), Catch::Contains("numbers"));
}

CATCH_TEST_CASE("sounds tell where in them an example begins and how long they are", "[audio][sounds]") {
  const Scratch scratch("seconds");
  put_wav(scratch / "x/a.wav", ramp(10, 1));
  const auto example_of = [&](const std::string& options) {
    return folder_of(scratch / "", "split: all, rate: 1000, told_seconds: true, " + options)->get(0);
  };
  const auto seconds = [](const Example& example, const char* name) {
    return example.condition.at(name).item<double>();
  };
  const Example middle = example_of("samples: 4, crop: middle");
  CATCH_CHECK(seconds(middle, "seconds_start") == Catch::Approx(0.003));
  CATCH_CHECK(seconds(middle, "seconds_total") == Catch::Approx(0.010));
  CATCH_CHECK(seconds(example_of("samples: 20"), "seconds_start") == 0.0);
  CATCH_CHECK(seconds(example_of("samples: 20"), "seconds_total") == Catch::Approx(0.010));

  // Wherever it lies, read whole or in part, first or again: the ramp begins at 1 a sample.
  put_wav(scratch / "x/a.wav", ramp(60, 1));
  const std::string random = "split: train, test_share: 0, rate: 1000, samples: 4, told_seconds: true";
  const DatasetPtr all = folder_of(scratch / "", random);
  std::set<double> starts;
  for (std::uint64_t epoch = 0; epoch < 8; ++epoch) {
    const Example example = all->get_in_epoch(0, epoch);
    const double start = seconds(example, "seconds_start");
    CATCH_CHECK(start * 1000 == Catch::Approx(static_cast<double>(numbers(example.data).front() - 1)).margin(1e-3));
    CATCH_CHECK(seconds(example, "seconds_total") == Catch::Approx(0.060));
    starts.insert(start);
  }
  CATCH_CHECK(starts.size() > 3);
  CATCH_CHECK(all->condition(0).at("seconds_start").item<double>() == seconds(all->get(0), "seconds_start"));
  // Nobody asks: nothing is told.
  CATCH_CHECK(folder_of(scratch / "", "split: all, rate: 1000")->get(0).condition.size() == 1);
}
