#include "modalities/audio/sound_measures.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/spectral_distance.h"
#include "modalities/audio/spectra.h"

namespace thaw::audio {

namespace {

constexpr double kLeastPower = 1e-12, kMostDecibels = 120.0;  // 120 dB below full scale
constexpr double kSpectrumFloor = 1e-8;
constexpr double kOnset = 1e-2;  // 20 dB below the loudest

at::Tensor decibels(const at::Tensor& power) {
  return 10.0 * power.clamp_min(kLeastPower).log10();
}

at::Tensor mono(const at::Tensor& raw_NCT) {
  return raw_NCT.to(at::kDouble).mean(1);
}

at::Tensor joined(const at::Tensor& raw_NCT) {
  return raw_NCT.to(at::kDouble).flatten(1);
}

void expect_pairs(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.dim() != 3)
    throw DataError(
        concat("pairs of sounds [n, channels, samples] must have one shape, got ", a.sizes(), " and ", b.sizes(), "."));
}

// 10 log10(a / b) between both limits; no error at all is the most, of silence too.
at::Tensor ratio_db(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor ratio = 10.0 * (a / b).log10().clamp(-0.1 * kMostDecibels, 0.1 * kMostDecibels);
  return at::where(b.eq(0.0), at::full_like(ratio, kMostDecibels), ratio);
}

constexpr std::array<SpectralResolution, 3> kResolutions{{{1024, 120, 600}, {2048, 240, 1200}, {512, 50, 240}}};

// A function of each channel's sounds [N C, T], averaged over channels.
template <class Function>
at::Tensor over_channels(const at::Tensor& made_NCT, const at::Tensor& original_NCT, const Function& function) {
  expect_pairs(made_NCT, original_NCT);
  const at::Tensor made = made_NCT.to(at::kDouble).flatten(0, 1), original = original_NCT.to(at::kDouble).flatten(0, 1);
  return function(made, original).view({made_NCT.size(0), made_NCT.size(1)}).mean(1);
}

}  // namespace

at::Tensor sound_levels_db(const at::Tensor& raw_NCT) {
  return decibels(joined(raw_NCT).square().mean(1));
}

at::Tensor sound_peaks_db(const at::Tensor& raw_NCT) {
  return decibels(joined(raw_NCT).square().amax(1));
}

at::Tensor clipped_shares(const at::Tensor& raw_NCT) {
  return joined(raw_NCT).abs().ge(1.0).to(at::kDouble).mean(1);
}

at::Tensor offsets(const at::Tensor& raw_NCT) {
  return raw_NCT.to(at::kDouble).mean(2).abs().amax(1);
}

at::Tensor centroids_hz(const at::Tensor& raw_NCT, std::int64_t rate_hz) {
  at::Tensor power_NF = at::view_as_real(at::fft_rfft(mono(raw_NCT), c10::nullopt, 1)).square().sum(-1);
  power_NF.select(1, 0).zero_();
  const at::Tensor bin =
      at::arange(power_NF.size(1), at::kDouble) * (static_cast<double>(rate_hz) / static_cast<double>(raw_NCT.size(2)));
  return (power_NF * bin).sum(1) / power_NF.sum(1).clamp_min(kLeastPower);
}

at::Tensor onsets_s(const at::Tensor& raw_NCT, std::int64_t rate_hz) {
  const std::int64_t window = std::min(std::max<std::int64_t>(1, rate_hz / 100), raw_NCT.size(2));
  const std::int64_t hop = std::max<std::int64_t>(1, rate_hz / 1000);
  const at::Tensor energy_NK = mono(raw_NCT).square().unfold(1, window, hop).sum(2);
  const at::Tensor is_on = energy_NK.ge(kOnset * energy_NK.amax(1, true));
  const at::Tensor first = is_on.to(at::kByte).argmax(1).to(at::kDouble);
  const at::Tensor time =
      (first * static_cast<double>(hop) + 0.5 * static_cast<double>(window)) / static_cast<double>(rate_hz);
  return at::where(energy_NK.amax(1) > 0.0, time, at::zeros_like(time));
}

at::Tensor signal_to_noise_db(const at::Tensor& made_NCT, const at::Tensor& original_NCT) {
  expect_pairs(made_NCT, original_NCT);
  const at::Tensor y = joined(made_NCT), s = joined(original_NCT);
  return ratio_db(s.square().sum(1), (s - y).square().sum(1));
}

at::Tensor scale_invariant_db(const at::Tensor& made_NCT, const at::Tensor& original_NCT) {
  expect_pairs(made_NCT, original_NCT);
  const at::Tensor y = joined(made_NCT), s = joined(original_NCT);
  const at::Tensor target = s * ((s * y).sum(1, true) / s.square().sum(1, true).clamp_min(1e-300));
  const at::Tensor decibels = ratio_db(target.square().sum(1), (target - y).square().sum(1));
  // No scale brings silence closer to a sound.
  const at::Tensor is_lost = y.square().sum(1).eq(0.0).logical_and(s.square().sum(1).gt(0.0));
  return at::where(is_lost, at::full_like(decibels, -kMostDecibels), decibels);
}

at::Tensor log_spectral_distances_db(const at::Tensor& made_NCT, const at::Tensor& original_NCT) {
  return over_channels(made_NCT, original_NCT, [](const at::Tensor& made, const at::Tensor& original) {
    const auto level = [](const at::Tensor& x) {
      return 10.0 * (power_spectra(x, {2048, 512}) + kSpectrumFloor).log10();
    };
    return (level(made) - level(original)).square().mean(1).sqrt().mean(1);
  });
}

at::Tensor multi_resolution_distances(const at::Tensor& made_NCT, const at::Tensor& original_NCT) {
  constexpr std::int64_t kLeast = 1025;  // half the longest transform is mirrored at either end
  if (original_NCT.dim() == 3 && original_NCT.size(2) < kLeast)
    throw DataError(concat("multi-resolution distance: sounds of ", original_NCT.size(2), " samples; it takes ", kLeast,
                           " at least."));
  return over_channels(made_NCT, original_NCT, [](const at::Tensor& made, const at::Tensor& original) {
    return spectral_distance(made.unsqueeze(1), original.unsqueeze(1), kResolutions, kSpectrumFloor);
  });
}

}  // namespace thaw::audio
