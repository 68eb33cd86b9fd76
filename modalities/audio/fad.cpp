// The Frechet distance of sounds in windows, by a network of the user's or VGGish: what published figures differ in is
// an option and stands in the protocol. N sounds, C channels, T samples, K windows of a sound

#include <algorithm>
#include <cmath>
#include <functional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"
#include "core/metrics/distributions.h"
#include "core/weights_hash.h"
#include "modalities/audio/fad.h"
#include "modalities/audio/list.h"
#include "modalities/audio/metric_rate.h"
#include "modalities/audio/vggish.h"

namespace thaw::audio {

at::Tensor sound_windows(const at::Tensor& raw_NCT, const FadWindows& how) {
  at::Tensor x = raw_NCT.to(at::kFloat);
  if (how.is_mono) x = x.mean(1, true);
  if (how.is_peak_normalised) x = x / x.abs().amax({1, 2}, true).clamp_min(1e-8);
  if (const std::int64_t missing = how.window - x.size(2); missing > 0) x = at::constant_pad_nd(x, {0, missing});
  return x.unfold(2, how.window, how.hop).transpose(1, 2).contiguous();
}

namespace {

// [N, T]; a published protocol takes no shorter sounds.
at::Tensor mono_of(const at::Tensor& raw_NCT, std::int64_t least, const char* protocol) {
  if (raw_NCT.size(2) < least)
    throw DataError(
        concat(protocol, ": sounds of ", raw_NCT.size(2), " samples, the protocol takes ", least, " or more."));
  return raw_NCT.to(at::kFloat).mean(1);
}

constexpr std::uint32_t kResample = 3;  // draw of Purpose::kEvaluate
constexpr int kResamples = 50;

// What the distances differ in.
struct FadProtocol {
  std::string name;
  std::string source{};  // of a published one
  std::string network;
  std::string windows;                                    // how sounds become them, in words
  std::function<at::Tensor(const at::Tensor&)> embedded;  // raw [N, C, T] to [N, K, d]
  CovarianceDivisor divisor = CovarianceDivisor::kDegreesOfFreedom;
};

class Fad : public Metric {
 public:
  Fad(const MetricParts& parts, std::int64_t against, FadProtocol protocol)
      : parts_(parts), against_(against), protocol_(std::move(protocol)) {}

  Measured measure(const Subject& subject) const override {
    const at::Tensor own = protocol_.embedded(subject.raw);
    const double value = distance(own);
    return {{{protocol_.name, value, interval(own, value), subject.raw.size(0),
              concat(protocol_.source, protocol_.source.empty() ? "" : ": ", "features of ", protocol_.network, ", ",
                     protocol_.windows, " (", own.size(1), " a sound), covariances divided by ",
                     protocol_.divisor == CovarianceDivisor::kCount ? "n" : "n - 1", ", against ", reference().size(0),
                     " windows of held-out examples; 95 % bootstrap interval over sounds with the "
                     "bias of resampling taken off; floor: training examples")}}};
  }
  nlohmann::json beside(std::int64_t n) const override {
    return {{protocol_.name + "_floor", distance(protocol_.embedded(examples(*parts_.data, n).data))}};
  }

 private:
  double distance(const at::Tensor& own_NKd) const {
    return frechet_distance(own_NKd.flatten(0, 1), reference(), protocol_.divisor);
  }
  const at::Tensor& reference() const {
    if (!reference_.defined())
      reference_ =
          protocol_.embedded(examples(*parts_.held_out, against_ > 0 ? against_ : parts_.held_out->size()).data)
              .flatten(0, 1);
    return reference_;
  }
  // Windows of one sound are alike: sounds are drawn, not windows.
  Interval interval(const at::Tensor& own_NKd, double value) const {
    std::vector<double> values;
    for (int r = 0; r < kResamples; ++r) {
      const NoiseKey key{parts_.seed, Purpose::kEvaluate, static_cast<std::uint64_t>(r), kResample, 0};
      std::vector<std::int64_t> drawn(static_cast<std::size_t>(own_NKd.size(0)));
      for (std::size_t i = 0; i < drawn.size(); ++i)
        drawn[i] = static_cast<std::int64_t>(uniform_integer(key, i, drawn.size()));
      values.push_back(distance(own_NKd.index_select(0, at::tensor(drawn, at::kLong))));
    }
    return resampled_interval(value, values);
  }

  MetricParts parts_;
  std::int64_t against_;
  FadProtocol protocol_;
  mutable at::Tensor reference_;
};

MetricPtr by_own_network(const Settings& settings, const MetricParts& parts) {
  const std::vector<std::int64_t>& takes = parts.features->model->spec.shape;
  if (takes.size() != 2)
    parts.section.fail("features", concat(parts.features->path, " takes ", at::IntArrayRef(takes),
                                          ", and fad needs a network of sounds [channels, samples]."));
  FadWindows how{.window = takes[1], .is_mono = takes[0] == 1};
  how.hop = std::max<std::int64_t>(1, std::llround(settings.number("hop") * static_cast<double>(how.window)));
  how.is_peak_normalised = settings.text("normalise") == "peak";
  FadProtocol protocol{
      .name = "fad",
      .network = parts.features->named,
      .windows = concat("windows of ", how.window, " samples every ", how.hop, ", ",
                        how.is_peak_normalised ? "each sound to peak 1" : "level as it is"),
      .embedded = [how, features = parts.features](const at::Tensor& raw_NCT) {
        const at::Tensor windows = sound_windows(raw_NCT, how);
        return features->features(windows.flatten(0, 1)).unflatten(0, {windows.size(0), windows.size(1)});
      }};
  if (settings.text("divisor") == "n") protocol.divisor = CovarianceDivisor::kCount;
  return std::make_shared<Fad>(parts, settings.integer("against"), std::move(protocol));
}

// Raw [N, C, T] to [N, K, 128], some sounds and then some windows at a time.
at::Tensor embedded_by(const Vggish& network, const VggishProtocol& published, const at::Tensor& raw_NCT,
                       bool has_activation) {
  constexpr std::int64_t kSounds = 8, kWindows = 16;
  std::vector<at::Tensor> sounds;
  for (const at::Tensor& some_NCT : raw_NCT.split(kSounds)) {
    const at::Tensor examples_NKFB = published.examples(some_NCT);
    std::vector<at::Tensor> rows;
    for (const at::Tensor& part : examples_NKFB.flatten(0, 1).split(kWindows))
      rows.push_back(network.embedded(part, has_activation));
    sounds.push_back(at::cat(rows).unflatten(0, {examples_NKFB.size(0), examples_NKFB.size(1)}));
  }
  return at::cat(sounds);
}

MetricPtr by_vggish(const Settings& settings, const MetricParts& parts, const VggishProtocol& published) {
  if (settings.text("network").empty())
    settings.fail("network", "names no file: VGGish's weights, as tests/peers/convert_pickle.py writes them.");
  if (const std::int64_t rate = rate_of(settings, parts); rate != kVggishRate_hz)
    settings.fail("rate", concat("VGGish hears ", kVggishRate_hz, " samples a second, the data has ", rate, "."));
  const auto network = open_vggish(settings.text("network"));
  FadProtocol protocol{
      .name = published.name,
      .source = published.source,
      .network = concat("VGGish, ", settings.text("network"), " ", hash_of_weights(network->parameters().all())),
      .windows = concat(published.words, settings.flag("activation") ? ", behind" : ", before", " the last ReLU"),
      .embedded = [=](const at::Tensor& raw_NCT) {
        return embedded_by(*network, published, raw_NCT, settings.flag("activation"));
      }};
  return std::make_shared<Fad>(parts, settings.integer("against"), std::move(protocol));
}

}  // namespace

const std::vector<VggishProtocol>& vggish_protocols() {
  static const std::vector<VggishProtocol> protocols{
      {"fad-google", "Kilgour et al. 2019, google-research/frechet_audio_distance",
       "windows of 1 s every 0.5 s of which the first 0.96 s count, each sound divided by the largest of its samples "
       "or "
       "0.1",
       [](const at::Tensor& raw_NCT) {
         const at::Tensor mono = mono_of(raw_NCT, kVggishRate_hz, "fad-google");
         const at::Tensor scaled = mono / mono.amax({1}, true).clamp_min(0.1);
         const at::Tensor seconds = scaled.unfold(1, kVggishRate_hz, kVggishRate_hz / 2);
         return vggish_frames(seconds.flatten(0, 1))
             .narrow(1, 0, kVggishFrames)
             .unflatten(0, {seconds.size(0), seconds.size(1)});
       }},
      {"fad-gudgud96", "gudgud96/frechet-audio-distance, vggish, without PCA",
       "windows of 0.96 s side by side, level as it is", [](const at::Tensor& raw_NCT) {
         constexpr std::int64_t kLeast = 400 + (kVggishFrames - 1) * 160;
         return vggish_frames(mono_of(raw_NCT, kLeast, "fad-gudgud96"))
             .unfold(1, kVggishFrames, kVggishFrames)
             .transpose(2, 3);
       }}};
  return protocols;
}

void register_fad(MetricRegistry& registry) {
  const Option against{"against", std::int64_t{0}, "held-out examples compared with; 0: all", 0, 1e9};
  registry.add(
      {{"fad",
        "Frechet audio distance over windows, by evaluate.features; what published protocols differ in are options.",
        "Kilgour et al. 2019",
        {{"hop", 0.5, "from window to window, in windows of the network", 0.01, 1.0},
         {"normalise", std::string("none"), "peak: every sound is brought to peak 1 first", 0, 0, {"none", "peak"}},
         {"divisor", std::string("n-1"), "of covariances", 0, 0, {"n-1", "n"}},
         against},
        {"of_samples", "needs_held_out", "needs_features"}},
       by_own_network});
  for (const VggishProtocol& published : vggish_protocols())
    registry.add(
        {{published.name,
          concat("Frechet audio distance by VGGish: ", published.words, "."),
          published.source,
          {{"network", std::string(), "file of VGGish's weights, by tests/peers/convert_pickle.py"},
           {"activation", false, "embeddings behind the last ReLU, as the first release of the weights has it"},
           {"rate", std::int64_t{0}, "samples a second of the data; 0: the codec's", 0, 384000},
           against},
          {"of_samples", "needs_held_out"}},
         [published](const Settings& settings, const MetricParts& parts) -> MetricPtr {
           return by_vggish(settings, parts, published);
         }});
}

}  // namespace thaw::audio
