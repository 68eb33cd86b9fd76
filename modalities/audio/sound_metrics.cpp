// What sounds are worth: statistics that show what is wrong with generated ones, and distances of pairs.

#include <functional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/metrics/distributions.h"
#include "modalities/audio/list.h"
#include "modalities/audio/metric_rate.h"
#include "modalities/audio/sound_codec.h"
#include "modalities/audio/sound_measures.h"

namespace thaw::audio {

std::int64_t rate_of(const Settings& settings, const MetricParts& parts) {
  if (const std::int64_t rate = settings.integer("rate"); rate > 0) return rate;
  const auto* codec = dynamic_cast<const SoundCodec*>(parts.codec.get());
  if (codec == nullptr) settings.fail("rate", "must be set: the codec does not tell how many samples a second has.");
  return codec->rate_hz();
}

namespace {

// A number a sound whose distribution is compared.
struct Statistic {
  std::string figure, axis, unit;
  std::function<at::Tensor(const at::Tensor& raw_NCT)> of;
};

std::vector<Statistic> statistics_at(std::int64_t rate_hz) {
  return {
      {"level_distance", "level, decibels of full scale", "dB", sound_levels_db},
      {"peak_distance", "peak, decibels of full scale", "dB", sound_peaks_db},
      {"centroid_distance", "spectral centroid, Hz", "Hz",
       [rate_hz](const at::Tensor& raw) { return centroids_hz(raw, rate_hz); }},
      {"onset_distance", "onset, seconds", "s", [rate_hz](const at::Tensor& raw) { return onsets_s(raw, rate_hz); }}};
}

class SoundStatistics : public Metric {
 public:
  SoundStatistics(const Settings& settings, const MetricParts& parts)
      : parts_(parts), against_(settings.integer("against")), statistics_(statistics_at(rate_of(settings, parts))) {}

  Measured measure(const Subject& subject) const override {
    const at::Tensor& raw = subject.raw;
    Measured measured{
        {mean_figure("clipped_share", clipped_shares(raw),
                     "share of samples at or beyond full scale, mean over sounds"),
         mean_figure("dc_offset", offsets(raw), "|mean| of the channel with the larger one, mean over sounds")}};
    for (const Statistic& statistic : statistics_) {
      const std::vector<double> own = list_of(statistic.of(raw)), real = list_of(statistic.of(held_out()));
      measured.figures.push_back(
          {statistic.figure, wasserstein_distance(own, real), wasserstein_interval(own, real, parts_.seed), raw.size(0),
           concat("1-Wasserstein distance in ", statistic.unit, " of the distribution of ", statistic.axis,
                  " to that of ", real.size(),
                  " held-out examples; 95 % bootstrap interval over samples; floor: training examples")});
      measured.more["distributions"][statistic.figure] =
          histograms(statistic.axis, {{"samples", own}, {"held out", real}});
    }
    return measured;
  }

  nlohmann::json beside(std::int64_t n) const override {
    const at::Tensor training = examples(*parts_.data, n).data;
    nlohmann::json result{{"clipped_share_floor", clipped_shares(training).mean().item<double>()},
                          {"dc_offset_floor", offsets(training).mean().item<double>()}};
    for (const Statistic& statistic : statistics_)
      result[statistic.figure + "_floor"] =
          wasserstein_distance(list_of(statistic.of(training)), list_of(statistic.of(held_out())));
    return result;
  }

 private:
  const at::Tensor& held_out() const {
    if (!held_out_.defined()) held_out_ = examples(*parts_.held_out, against_).data;
    return held_out_;
  }

  MetricParts parts_;
  std::int64_t against_;
  std::vector<Statistic> statistics_;
  mutable at::Tensor held_out_;
};

// Raw samples of a shape that a codec encodes: sounds or something else.
void expect_sounds(const MetricParts& parts, const char* metric) {
  std::vector<std::int64_t> shape = parts.spec.shape;
  shape.insert(shape.begin(), 1);
  const at::Tensor raw = parts.codec->decode(at::zeros(shape));
  if (raw.dim() != 3 || !raw.is_floating_point())
    parts.section.fail("metrics",
                       concat(metric, " needs sounds [channels, samples], and the data is ", raw[0].sizes(), "."));
}

/// All distances of one pair of sounds at once.
class SpectralDistance : public Metric {
 public:
  explicit SpectralDistance(const MetricParts& parts) : codec_(parts.codec) {}

  Measured measure(const Subject& subject) const override {
    if (!subject.originals.defined()) return {};
    const bool are_raw = subject.original_raw.defined();
    const at::Tensor made = are_raw ? subject.raw : codec_->decode(subject.encoded);
    const at::Tensor original = are_raw ? subject.original_raw : codec_->decode(subject.originals);
    Measured measured;
    const auto add = [&](const char* name, const at::Tensor& values_N, const char* protocol) {
      measured.figures.push_back(
          mean_figure(name, values_N, concat(protocol, ", mean over pairs with the example of the same index")));
      measured.per_sample[name] = list_of(values_N);
    };
    add("multi_resolution_distance", multi_resolution_distances(made, original),
        "spectral convergence plus log magnitude (natural), of Hann windows of 600, 1200 and 240 samples; 0: equal");
    add("log_spectral_distance", log_spectral_distances_db(made, original),
        "decibel, Hann windows of 2048 samples, hop 512; 0: equal");
    add("signal_to_noise", signal_to_noise_db(made, original), "decibel, at most 120");
    add("scale_invariant", scale_invariant_db(made, original), "SI-SDR in decibel, at most 120");
    return measured;
  }

 private:
  CodecPtr codec_;
};

}  // namespace

void register_sound_metrics(MetricRegistry& registry) {
  registry.add({{"sound_statistics",
                 "Level, peak, spectral centroid and onset against held-out examples; clipping and offset.",
                 "",
                 {{"rate", std::int64_t{0}, "samples a second of the data; 0: the codec's", 0, 384000},
                  {"against", std::int64_t{2000}, "held-out examples compared with, spread over all", 2, 1e6}},
                 {"of_samples", "needs_held_out"}},
                [](const Settings& settings, const MetricParts& parts) -> MetricPtr {
                  expect_sounds(parts, "sound_statistics");
                  return std::make_shared<SoundStatistics>(settings, parts);
                }});
  registry.add({{"spectral_distance",
                 "Multi-resolution and log-spectral distance, SNR and SI-SDR to held-out examples of the same index.",
                 "Yamamoto et al. 2020; Gray and Markel 1976; Le Roux et al. 2019",
                 {},
                 {"of_autoencoder", "of_pairs", "needs_held_out"}},
                [](const Settings&, const MetricParts& parts) -> MetricPtr {
                  expect_sounds(parts, "spectral_distance");
                  return std::make_shared<SpectralDistance>(parts);
                }});
}

}  // namespace thaw::audio
