// Classifiers of sounds: what they look at, and what they do not.

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/metrics/features.h"
#include "experiments/catalog.h"
#include "modalities/audio/spectra.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

std::unique_ptr<Backbone> made(const std::string& text, const DataSpec& spec) {
  static const Catalog catalog = make_catalog();
  const Config config = Config::parse("backbone: " + text, "test.yaml");
  return catalog.backbones.create(config.section("backbone"), "", spec, 5);
}

const std::vector<std::string> kNames{"sound_classifier", "statistics_sound_classifier"};
const DataSpec kSpec{{1, 12000}, 10};

// Tones of different heights under one noise, [3, 1, 12000].
at::Tensor tones() {
  const at::Tensor i = at::arange(12000, at::kFloat);
  std::vector<at::Tensor> all;
  for (const double step : {0.1, 0.3, 0.9}) all.push_back(0.3 * at::sin(step * i) + 0.02 * at::sin(17.0 * at::sin(i)));
  return at::stack(all).unsqueeze(1);
}

}  // namespace

CATCH_TEST_CASE("mel bands are triangles of height 1 that sum to 1 between the first and last peak",
                "[audio][classifier]") {
  const at::Tensor bands = audio::mel_bands(20, 2048, 16000);
  CATCH_CHECK(bands.sizes() == at::IntArrayRef{20, 1025});
  const auto hz_of = [](double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); };
  const double top = 2595.0 * std::log10(1.0 + 8000.0 / 700.0);
  const at::Tensor sum = bands.sum(0);
  const auto first = static_cast<std::int64_t>(std::ceil(hz_of(top / 21) / 7.8125));
  const auto last = static_cast<std::int64_t>(std::floor(hz_of(20 * top / 21) / 7.8125));
  CATCH_CHECK(at::allclose(sum.narrow(0, first, last - first), at::ones({last - first}), 1e-5, 1e-5));
  for (const std::int64_t b : {0, 7, 19}) {
    const double peak = static_cast<double>(bands[b].argmax().item<std::int64_t>()) * 7.8125;
    CATCH_CHECK(peak == Catch::Approx(hz_of(top * static_cast<double>(b + 1) / 21)).margin(7.8125));
  }
  CATCH_CHECK_THROWS_AS(audio::mel_bands(200, 64, 16000), std::invalid_argument);
}

CATCH_TEST_CASE("a sound and the same sound 20 dB softer have one set of features", "[audio][classifier]") {
  for (const std::string& name : kNames) {
    CATCH_CAPTURE(name);
    const auto backbone = made("{type: " + name + "}", kSpec);
    const auto& classifier = dynamic_cast<const Classifier&>(*backbone);
    const at::Tensor loud = classifier.features(tones()), soft = classifier.features(0.1 * tones());
    CATCH_CHECK(loud.sizes() == at::IntArrayRef{3, 64});
    CATCH_CHECK((loud - soft).abs().max().item<double>() < 1e-3 * loud.abs().max().item<double>());
    CATCH_CHECK((loud[0] - loud[2]).abs().max().item<double>() > 0.05 * loud.abs().max().item<double>());
    CATCH_CHECK(at::isfinite(classifier.features(at::zeros({2, 1, 12000}))).all().item<bool>());
    CATCH_CHECK(classifier.layers(tones()).back().squeeze(2).equal(loud));
    std::int64_t numbers = 0;
    for (const auto& [key, tensor] : backbone->parameters().all()) numbers += tensor.numel();
    CATCH_CHECK(numbers < 250'000);  // 1 MB of float32
  }
}

CATCH_TEST_CASE("every weight of a classifier of sounds learns, and few steps tell tones apart",
                "[audio][classifier]") {
  for (const std::string& name : kNames) {
    CATCH_CAPTURE(name);
    const auto backbone = made("{type: " + name + ", width: 8, features: 16}", {{1, 4000}, 3});
    const at::Tensor x = tones().narrow(2, 0, 4000), label = at::arange(3, at::kLong);
    double first = 0.0, last = 0.0;
    for (int step = 0; step < 25; ++step) {
      for (const auto& [key, tensor] : backbone->parameters().all()) tensor.mutable_grad().reset();
      const at::Tensor loss = at::cross_entropy_loss(backbone->forward(x, {}, {}), label);
      loss.backward();
      (step == 0 ? first : last) = loss.item<double>();
      for (const auto& [key, tensor] : backbone->parameters().all()) {
        CATCH_CAPTURE(key);
        CATCH_REQUIRE(tensor.grad().defined());
        if (step == 0 && key.find("first.0.bias") == std::string::npos && key.find("conv.0.bias") == std::string::npos)
          CATCH_CHECK(tensor.grad().abs().max().item<double>() > 0.0);
        tensor.data().sub_(tensor.grad(), 0.05);
      }
    }
    CATCH_CHECK(last < 0.5 * first);
  }
}

CATCH_TEST_CASE("pictures, and bands finer than the spectrum, are refused by name", "[audio][classifier]") {
  CATCH_CHECK_THROWS_AS(made("sound_classifier", {{1, 28, 28}, 10}), ConfigError);
  CATCH_CHECK_THROWS_AS(made("sound_classifier", {{1, 12000}, 0}), ConfigError);
  CATCH_CHECK_THROWS_AS(made("{type: sound_classifier, bands: 512, window: 64}", kSpec), ConfigError);
}
