// The Frechet distance of sounds in windows, by a network of the user's: what published figures differ in is an option
// and stands in the protocol.
// N sounds, C channels, T samples, K windows of a sound

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/math/philox.h"
#include "core/metrics/distributions.h"
#include "modalities/audio/fad.h"
#include "modalities/audio/list.h"

namespace thaw::audio {

at::Tensor sound_windows(const at::Tensor& raw_NCT, const FadWindows& how) {
  at::Tensor x = raw_NCT.to(at::kFloat);
  if (how.is_mono) x = x.mean(1, true);
  if (how.is_peak_normalised) x = x / x.abs().amax({1, 2}, true).clamp_min(1e-8);
  if (const std::int64_t missing = how.window - x.size(2); missing > 0) x = at::constant_pad_nd(x, {0, missing});
  return x.unfold(2, how.window, how.hop).transpose(1, 2).contiguous();
}

namespace {

constexpr std::uint32_t kResample = 3;  // draw of Purpose::kEvaluate
constexpr int kResamples = 50;

class Fad : public Metric {
 public:
  Fad(const Settings& settings, const MetricParts& parts) : parts_(parts), against_(settings.integer("against")) {
    const std::vector<std::int64_t>& takes = parts_.features->model->spec.shape;
    if (takes.size() != 2)
      parts_.section.fail("features", concat(parts_.features->path, " takes ", at::IntArrayRef(takes),
                                             ", and fad needs a network of sounds [channels, samples]."));
    how_.window = takes[1];
    how_.hop = std::max<std::int64_t>(1, std::llround(settings.number("hop") * static_cast<double>(how_.window)));
    how_.is_peak_normalised = settings.text("normalise") == "peak";
    how_.is_mono = takes[0] == 1;
    divisor_ = settings.text("divisor") == "n" ? CovarianceDivisor::kCount : CovarianceDivisor::kDegreesOfFreedom;
  }

  Measured measure(const Subject& subject) const override {
    const at::Tensor own = embedded(subject.raw);
    const double value = distance(own);
    return {{{"fad", value, interval(own, value), subject.raw.size(0),
              concat("features of ", parts_.features->named, ", windows of ", how_.window, " samples every ", how_.hop,
                     " (", own.size(1), " a sound), ",
                     how_.is_peak_normalised ? "each sound to peak 1" : "level as it is", ", covariances divided by ",
                     divisor_ == CovarianceDivisor::kCount ? "n" : "n - 1", ", against ", reference().size(0),
                     " windows of held-out examples; 95 % bootstrap interval over sounds with the "
                     "bias of resampling taken off; floor: training examples")}}};
  }
  nlohmann::json beside(std::int64_t n) const override {
    return {{"fad_floor", distance(embedded(examples(*parts_.data, n).data))}};
  }

 private:
  // [N, K, d]
  at::Tensor embedded(const at::Tensor& raw_NCT) const {
    const at::Tensor windows = sound_windows(raw_NCT, how_);
    return parts_.features->features(windows.flatten(0, 1)).unflatten(0, {windows.size(0), windows.size(1)});
  }
  double distance(const at::Tensor& own_NKd) const {
    return frechet_distance(own_NKd.flatten(0, 1), reference(), divisor_);
  }
  const at::Tensor& reference() const {
    if (!reference_.defined())
      reference_ =
          embedded(examples(*parts_.held_out, against_ > 0 ? against_ : parts_.held_out->size()).data).flatten(0, 1);
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
  FadWindows how_;
  CovarianceDivisor divisor_ = CovarianceDivisor::kDegreesOfFreedom;
  mutable at::Tensor reference_;
};

}  // namespace

void register_fad(MetricRegistry& registry) {
  registry.add(
      {{"fad",
        "Frechet audio distance over windows, by evaluate.features; what published protocols differ in are options.",
        "Kilgour et al. 2019",
        {{"hop", 0.5, "from window to window, in windows of the network", 0.01, 1.0},
         {"normalise", std::string("none"), "peak: every sound is brought to peak 1 first", 0, 0, {"none", "peak"}},
         {"divisor", std::string("n-1"), "of covariances", 0, 0, {"n-1", "n"}},
         {"against", std::int64_t{0}, "held-out examples compared with; 0: all", 0, 1e9}},
        {"of_samples", "needs_held_out", "needs_features"}},
       [](const Settings& settings, const MetricParts& parts) -> MetricPtr {
         return std::make_shared<Fad>(settings, parts);
       }});
}

}  // namespace thaw::audio
