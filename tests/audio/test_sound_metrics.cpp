// Metrics of sounds as the catalog gives them, on sets whose answers are known.

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/math/philox.h"
#include "core/metrics/frechet.h"
#include "core/metrics/metric.h"
#include "core/nn/parameters.h"
#include "experiments/catalog.h"
#include "modalities/audio/fad.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

const Catalog& catalog() {
  static const Catalog known = make_catalog();
  return known;
}

class Sounds : public Dataset {
 public:
  explicit Sounds(at::Tensor raw_NCT) : raw_NCT_(std::move(raw_NCT)) {}
  std::int64_t size() const override { return raw_NCT_.size(0); }
  Example get(std::int64_t index) const override { return {raw_NCT_[index], {}}; }

 private:
  at::Tensor raw_NCT_;
};

// The energy of each eighth of a window.
class Eighths : public Classifier {
 public:
  at::Tensor features(const at::Tensor& x_NCT) const override {
    return x_NCT.square().unflatten(2, {8, -1}).mean({1, 3});
  }
  at::Tensor logits(const at::Tensor& x) const override { return features(x); }
  std::vector<at::Tensor> layers(const at::Tensor& x) const override { return {features(x).unsqueeze(2)}; }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_{0};
};

at::Tensor noise(std::int64_t n, std::uint64_t seed) {
  at::Tensor x = at::empty({n, 1, 256}, at::kFloat);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther, 0, 0, 0});
  return 0.1 * x;
}

MetricParts parts_of(const at::Tensor& training, const at::Tensor& held_out) {
  const Config config = Config::parse("codec: {type: waveform, rate: 8000}", "test.yaml");
  MetricParts parts{Config::empty(), catalog().codecs.create(config.section("codec"), "", CodecParts{})};
  parts.data = std::make_shared<Sounds>(training);
  parts.held_out = std::make_shared<Sounds>(held_out);
  parts.spec.shape = held_out[0].sizes().vec();
  auto model = std::make_shared<Model>();
  model->spec.shape = {1, 128};
  model->backbone = std::make_unique<Eighths>();
  parts.features = std::make_shared<TrainedClassifier>(TrainedClassifier{model, parts.codec, "eighths", "itself"});
  return parts;
}

MetricPtr metric(const std::string& text, const MetricParts& parts) {
  const Config config = Config::parse("m: " + text, "test.yaml");
  return catalog().metrics.create(config.section("m"), "", parts);
}

double figure(const Measured& measured, const std::string& name) {
  for (const Figure& one : measured.figures)
    if (one.name == name) return one.value;
  return NAN;
}

}  // namespace

CATCH_TEST_CASE("fad is the Frechet distance of features of all windows, and names its protocol", "[audio][metrics]") {
  const at::Tensor own = noise(40, 1), held_out = noise(60, 2);
  const MetricParts parts = parts_of(noise(40, 3), held_out);
  const Measured measured = metric("{type: fad, hop: 0.5}", parts)->measure({.raw = own});
  const auto features = [](const at::Tensor& raw) {
    return Eighths().features(audio::sound_windows(raw, {.window = 128, .hop = 64}).flatten(0, 1));
  };
  CATCH_REQUIRE(measured.figures.size() == 1);
  CATCH_CHECK(figure(measured, "fad") == Catch::Approx(frechet_distance(features(own), features(held_out))));
  CATCH_CHECK(measured.figures[0].n == 40);
  CATCH_CHECK(measured.figures[0].interval.low <= measured.figures[0].value);
  CATCH_CHECK(measured.figures[0].interval.high >= measured.figures[0].value);
  CATCH_CHECK(measured.figures[0].protocol.find("windows of 128 samples every 64, level as it is (3 a sound), "
                                                "covariances divided by n - 1") != std::string::npos);
  CATCH_CHECK(figure(metric("fad", parts)->measure({.raw = held_out}), "fad") == Catch::Approx(0.0).margin(1e-9));
  // A factor is lost where each sound is brought to one peak.
  const MetricPtr by_peak = metric("{type: fad, normalise: peak}", parts);
  CATCH_CHECK(figure(by_peak->measure({.raw = 0.25 * own}), "fad") ==
              Catch::Approx(figure(by_peak->measure({.raw = own}), "fad")).margin(1e-6));
}

CATCH_TEST_CASE("held-out sounds have no distance to themselves, softer ones that of their decibels",
                "[audio][metrics]") {
  const at::Tensor held_out = noise(60, 2);
  const MetricParts parts = parts_of(noise(40, 3), held_out);
  const MetricPtr statistics = metric("sound_statistics", parts);
  const Measured same = statistics->measure({.raw = held_out});
  for (const char* name : {"level_distance", "peak_distance", "centroid_distance", "onset_distance"})
    CATCH_CHECK(figure(same, name) == Catch::Approx(0.0).margin(1e-9));
  CATCH_CHECK(figure(same, "clipped_share") == 0.0);
  const Measured softer = statistics->measure({.raw = 0.5 * held_out});
  CATCH_CHECK(figure(softer, "level_distance") == Catch::Approx(20 * std::log10(2.0)).margin(1e-6));
  CATCH_CHECK(figure(softer, "peak_distance") == Catch::Approx(20 * std::log10(2.0)).margin(1e-6));
  CATCH_CHECK(figure(softer, "centroid_distance") == Catch::Approx(0.0).margin(1e-6));
  // White noise at the codec's rate of 8000 Hz: around 2000 Hz.
  CATCH_CHECK(softer.more["distributions"]["centroid_distance"]["low"].get<double>() > 1500.0);
  CATCH_CHECK(softer.more["distributions"]["centroid_distance"]["high"].get<double>() < 2500.0);
  const nlohmann::json beside = statistics->beside(40);
  CATCH_CHECK(beside["level_distance_floor"].get<double>() < 1.0);
  CATCH_CHECK(beside["clipped_share_floor"] == 0.0);
}

CATCH_TEST_CASE("pairs are compared as they are heard, or decoded where only encoded ones are known",
                "[audio][metrics]") {
  const at::Tensor made = noise(4, 1).repeat({1, 1, 8}), original = noise(4, 2).repeat({1, 1, 8});
  const MetricParts parts = parts_of(original, original);
  const MetricPtr pairs = metric("spectral_distance", parts);
  const Measured decoded = pairs->measure({.encoded = made, .originals = original});
  const Measured raw = pairs->measure(
      {.raw = made, .encoded = at::zeros_like(made), .originals = at::ones_like(made), .original_raw = original});
  CATCH_REQUIRE(decoded.figures.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CATCH_CHECK(decoded.figures[i].value == raw.figures[i].value);
  CATCH_CHECK(decoded.per_sample["signal_to_noise"].size() == 4);
  CATCH_CHECK(pairs->measure({.raw = made}).figures.empty());
}

CATCH_TEST_CASE("pictures, and a codec that tells no rate, are refused by name", "[audio][metrics]") {
  MetricParts parts = parts_of(noise(4, 1), noise(4, 2));
  auto model = std::make_shared<Model>();
  model->spec.shape = {1, 28, 28};
  auto pictures = std::make_shared<TrainedClassifier>(*parts.features);
  pictures->model = model;
  MetricParts seen = parts;
  seen.features = pictures;
  CATCH_CHECK_THROWS_AS(metric("fad", seen), ConfigError);
  const Config config = Config::parse("codec: identity", "test.yaml");
  MetricParts plain = parts;
  plain.codec = catalog().codecs.create(config.section("codec"), "", CodecParts{});
  CATCH_CHECK_THROWS_AS(metric("sound_statistics", plain), ConfigError);
  CATCH_CHECK_NOTHROW(metric("{type: sound_statistics, rate: 8000}", plain));
  plain.spec.shape = {1, 28, 28};
  CATCH_CHECK_THROWS_AS(metric("spectral_distance", plain), ConfigError);
}
