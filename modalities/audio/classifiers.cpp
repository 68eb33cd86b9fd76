// Small classifiers of sounds on log mel bands: a judge that looks at pictures of time and frequency, and one of
// another family whose features measure distances. N batch, C channels, T samples, B bands, K frames

#include <stdexcept>

#include <ATen/ATen.h>

#include "core/metrics/features.h"
#include "core/nn/layers.h"
#include "core/nn/streaming.h"
#include "modalities/audio/list.h"
#include "modalities/audio/sound_codec.h"
#include "modalities/audio/spectra.h"

namespace thaw::audio {

namespace {

/// Log energies of mel bands, at a level of their own: the same for a sound and its multiples.
class Ear {
 public:
  Ear() = default;
  explicit Ear(const Settings& settings)
      : frames_{settings.integer("window"), settings.integer("hop")},
        bands_BF_(mel_bands(settings.integer("bands"), frames_.window, settings.integer("rate"))) {}

  // [N, C, T] -> [N, B, K], about unit variance. Channels are mixed.
  at::Tensor operator()(const at::Tensor& x_NCT) const {
    const at::Tensor mono = x_NCT.to(at::kFloat).mean(1);
    const at::Tensor power = at::matmul(bands_BF_.to(mono.device()), power_spectra(mono, frames_));
    // 60 dB below the mean is silence; 1e-10 keeps silent sounds finite.
    const at::Tensor floor = 1e-6 * power.mean({1, 2}, true) + 1e-10;
    const at::Tensor decades = at::log10(power + floor) - at::log10(floor);
    return decades - decades.mean({1, 2}, true);
  }
  std::int64_t bands() const { return bands_BF_.size(0); }

 private:
  Frames frames_{};
  at::Tensor bands_BF_;
};

/// Three stages of 3 x 3 convolutions over bands and frames, each of which halves both; means over a coarse grid of
/// places; a hidden layer that sees them all.
class SoundClassifier : public Classifier {
 public:
  SoundClassifier(const DataSpec& spec, const Settings& settings, std::uint64_t seed)
      : ear_(settings), parameters_(seed) {
    const std::int64_t width = settings.integer("width"), features = settings.integer("features");
    const Scope scope(parameters_);
    std::int64_t channels = 1;
    for (std::size_t i = 0; i < kStages; ++i) {
      const std::int64_t out = width << i;
      first_[i] = nn::Conv2d(scope / "first" / i, channels, out, 3, 2);
      norm_[i] = nn::GroupNorm(scope / "norm" / i, out, nn::norm_groups(out, 8));
      second_[i] = nn::Conv2d(scope / "second" / i, out, out, 3);
      channels = out;
    }
    hidden_ = nn::Linear(scope / "hidden", channels * kGrid[0] * kGrid[1], features);
    out_ = nn::Linear(scope / "out", features, spec.num_classes);
  }
  at::Tensor features(const at::Tensor& x_NCT) const override { return layers(x_NCT).back().flatten(1); }
  at::Tensor logits(const at::Tensor& x_NCT) const override { return out_(nn::dropout(features(x_NCT), kDropout, 1)); }
  std::vector<at::Tensor> layers(const at::Tensor& x_NCT) const override {
    std::vector<at::Tensor> layers;
    at::Tensor h = ear_(x_NCT).unsqueeze(1);
    for (std::size_t i = 0; i < kStages; ++i) {
      h = at::relu(norm_[i](first_[i](h)));
      h = h + at::relu(second_[i](h));
      layers.push_back(h);
    }
    const at::Tensor places = at::adaptive_avg_pool2d(h, kGrid).flatten(1);
    layers.push_back(at::relu(hidden_(nn::dropout(places, kDropout, 0))).unsqueeze(2));
    return layers;
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  static constexpr std::size_t kStages = 3;
  static constexpr std::int64_t kGrid[2] = {4, 6};  // of bands and time
  static constexpr double kDropout = 0.3;
  Ear ear_;
  Parameters parameters_;
  nn::Conv2d first_[kStages], second_[kStages];
  nn::GroupNorm norm_[kStages];
  nn::Linear hidden_, out_;
};

/// Convolutions over time alone, whose channels are bands at first, wider and wider apart; mean and deviation over time
/// of what they see in each third of the sound; a hidden layer.
class StatisticsClassifier : public Classifier {
 public:
  StatisticsClassifier(const DataSpec& spec, const Settings& settings, std::uint64_t seed)
      : ear_(settings), parameters_(seed) {
    const std::int64_t width = settings.integer("width"), features = settings.integer("features");
    const Scope scope(parameters_);
    for (std::size_t i = 0; i < kLayers; ++i) {
      const std::int64_t in = i == 0 ? ear_.bands() : width;
      weight_[i] = (scope / "conv" / i).add("weight", {width, in, kTaps}, Init::fan_in(in * kTaps, 1.0));
      bias_[i] = (scope / "conv" / i).add("bias", {width}, Init::zeros());
      norm_[i] = nn::GroupNorm(scope / "norm" / i, width, nn::norm_groups(width, 8));
    }
    hidden_ = nn::Linear(scope / "hidden", 2 * kThirds * width, features);
    out_ = nn::Linear(scope / "out", features, spec.num_classes);
  }
  at::Tensor features(const at::Tensor& x_NCT) const override { return layers(x_NCT).back().flatten(1); }
  at::Tensor logits(const at::Tensor& x_NCT) const override { return out_(nn::dropout(features(x_NCT), kDropout, 1)); }
  std::vector<at::Tensor> layers(const at::Tensor& x_NCT) const override {
    std::vector<at::Tensor> layers;
    at::Tensor h = ear_(x_NCT);
    for (std::size_t i = 0; i < kLayers; ++i) {
      const std::int64_t apart = std::int64_t{1} << i;
      const at::Tensor seen =
          at::conv1d(h, nn::here(weight_[i]), nn::here(bias_[i]), {1}, {apart * (kTaps / 2)}, {apart});
      h = i == 0 ? at::relu(norm_[i](seen)) : h + at::relu(norm_[i](seen));
      layers.push_back(h);
    }
    const at::Tensor mean = at::adaptive_avg_pool1d(h, {kThirds});
    const at::Tensor variance = at::adaptive_avg_pool1d(h.square(), {kThirds}) - mean.square();
    const at::Tensor statistics = at::cat({mean, (variance.clamp_min(0.0) + 1e-5).sqrt()}, 1).flatten(1);
    layers.push_back(at::relu(hidden_(nn::dropout(statistics, kDropout, 0))).unsqueeze(2));
    return layers;
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  static constexpr std::size_t kLayers = 4;
  static constexpr std::int64_t kTaps = 5, kThirds = 3;
  static constexpr double kDropout = 0.2;
  Ear ear_;
  Parameters parameters_;
  at::Tensor weight_[kLayers], bias_[kLayers];
  nn::GroupNorm norm_[kLayers];
  nn::Linear hidden_, out_;
};

std::vector<Option> options_of(std::int64_t width) {
  return {{"width", width, "channels of the first layer", 1, 1024},
          {"features", std::int64_t{64}, "width of the layer before the last", 2, 4096},
          rate_option(),
          {"bands", std::int64_t{40}, "of the mel scale, up to half the rate", 4, 512},
          {"window", std::int64_t{512}, "samples of a frame", 16, 65536},
          {"hop", std::int64_t{160}, "samples from a frame to the next", 1, 65536}};
}

template <class Network>
std::unique_ptr<Backbone> make_classifier(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  if (spec.shape.size() != 2 || spec.num_classes < 2) settings.fail("type", "needs labelled sounds [channels, T].");
  try {
    return std::make_unique<Network>(spec, settings, seed);
  } catch (const std::invalid_argument& error) {
    settings.fail("bands", std::string(error.what()) + ".");
  }
}

}  // namespace

void register_classifiers(BackboneRegistry& registry) {
  registry.add({{"sound_classifier",
                 "3 x 3 convolutions over log mel bands and time, and a hidden layer that sees every place.",
                 "after Sainath and Parada 2015, in today's form",
                 options_of(16),
                 {"classifier"}},
                make_classifier<SoundClassifier>});
  registry.add({{"statistics_sound_classifier",
                 "Convolutions over time on log mel bands, mean and deviation of what they see, one hidden layer.",
                 "after Snyder et al. 2018 (x-vectors), in small",
                 options_of(48),
                 {"classifier"}},
                make_classifier<StatisticsClassifier>});
}

}  // namespace thaw::audio
