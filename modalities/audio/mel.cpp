#include "modalities/audio/mel.h"

#include <cmath>

#include <ATen/ATen.h>

namespace thaw::audio {

namespace {

// Slaney's scale: linear below 1 kHz, logarithmic above.
constexpr double kBreak_hz = 1000.0, kPerMel_hz = 200.0 / 3.0, kBreak_mel = kBreak_hz / kPerMel_hz;
const double kLogStep = std::log(6.4) / 27.0;

constexpr int kSteps = 30;

double unit_of(const MelOptions& options) {
  const at::Tensor window = at::hann_window(options.stft.window, at::kDouble);
  switch (options.spectrum) {
    case SpectrumNorm::kNone:
      return 1.0;
    case SpectrumNorm::kWindow:
      return std::sqrt(window.square().sum().item<double>());
    case SpectrumNorm::kSine:
      return window.sum().item<double>() / 2.0;
  }
  return 1.0;
}

}  // namespace

double mel_of(double hz, MelScale scale) {
  if (scale == MelScale::kHtk) return 2595.0 * std::log10(1.0 + hz / 700.0);
  return hz < kBreak_hz ? hz / kPerMel_hz : kBreak_mel + std::log(hz / kBreak_hz) / kLogStep;
}

double hz_of(double mel, MelScale scale) {
  if (scale == MelScale::kHtk) return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
  return mel < kBreak_mel ? mel * kPerMel_hz : kBreak_hz * std::exp((mel - kBreak_mel) * kLogStep);
}

at::Tensor mel_filters(const MelOptions& options) {
  const std::int64_t frequencies = options.stft.frequencies();
  const double low = mel_of(options.lowest_hz, options.scale), high = mel_of(options.highest_hz, options.scale);
  const at::Tensor filters = at::zeros({options.mels, frequencies}, at::kDouble);
  auto weights = filters.accessor<double, 2>();
  const auto corner = [&](std::int64_t i) {
    return hz_of(low + (high - low) * static_cast<double>(i) / static_cast<double>(options.mels + 1), options.scale);
  };
  for (std::int64_t m = 0; m < options.mels; ++m) {
    const double left = corner(m), middle = corner(m + 1), right = corner(m + 2);
    const double area = options.norm == MelNorm::kSlaney ? 2.0 / (right - left) : 1.0;
    for (std::int64_t f = 0; f < frequencies; ++f) {
      const double hz =
          static_cast<double>(options.rate_hz / 2) * static_cast<double>(f) / static_cast<double>(frequencies - 1);
      weights[m][f] = area * std::max(0.0, std::min((hz - left) / (middle - left), (right - hz) / (right - middle)));
    }
  }
  return filters;
}

MelTransform::MelTransform(const MelOptions& options)
    : options_(options), unit_(unit_of(options)), filters_MF_(mel_filters(options)) {
  inverse_FM_ = at::linalg_pinv(filters_MF_).to(at::kFloat);
  filters_MF_ = filters_MF_.to(at::kFloat);
}

at::Tensor MelTransform::mels(const at::Tensor& sound_NT) const {
  at::Tensor magnitudes = options_.stft.forward(sound_NT).abs() / unit_;
  if (options_.power != 1.0) magnitudes = magnitudes.pow(options_.power);
  return at::matmul(filters_MF_.to(sound_NT.device()), magnitudes);
}

at::Tensor MelTransform::forward(const at::Tensor& sound_NT) const {
  const at::Tensor level = mels(sound_NT).clamp_min(options_.floor).log10() * options_.factor;
  const at::Tensor encoded = (level - options_.mean) / options_.spread;
  return options_.most > 0 ? encoded.clamp(-options_.most, options_.most) : encoded;
}

at::Tensor MelTransform::magnitudes(const at::Tensor& encoded_NMK) const {
  const at::Tensor level = encoded_NMK.to(at::kFloat) * options_.spread + options_.mean;
  // What lies at the floor was at most that: nothing is put there.
  at::Tensor mels = at::pow(10.0, level / options_.factor);
  mels = at::where(mels <= options_.floor * (1.0 + 1e-3), at::zeros_like(mels), mels);
  const at::Tensor filters = filters_MF_.to(mels.device());
  const at::Tensor wanted = at::matmul(filters.t(), mels);
  at::Tensor power = at::matmul(inverse_FM_.to(mels.device()), mels).clamp_min(0.0) + 1e-9;
  for (int i = 0; i < kSteps; ++i)
    power = power * wanted / (at::matmul(filters.t(), at::matmul(filters, power)) + 1e-12);
  return (options_.power == 1.0 ? power : power.pow(1.0 / options_.power)) * unit_;
}

at::Tensor MelTransform::inverse(const at::Tensor& encoded_NMK, const GriffinLim& how, std::int64_t length) const {
  return sound_of_magnitudes(magnitudes(encoded_NMK), options_.stft, how, length);
}

}  // namespace thaw::audio
