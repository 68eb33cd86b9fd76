#pragma once
// Spectra over time that networks and metrics of sounds look at.
// N batch, T samples, K frames, F bins of frequency, B bands

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw::audio {

/// Where a spectrum over time is cut.
struct Frames {
  std::int64_t window = 512;   // samples under a periodic Hann window
  std::int64_t hop = 160;      // samples from a frame to the next
  std::int64_t transform = 0;  // samples transformed, the window followed by zeros; 0: the window alone
};

/// |X_k(f)|^2, [N, T] -> [N, F = transform / 2 + 1, K = T / hop + 1]; frame k is centred on sample k hop, with silence
/// beyond the ends. Differentiable; float32 or float64.
at::Tensor power_spectra(const at::Tensor& sound_NT, const Frames& frames);

/// [B, F], float32: triangles of height 1 on the mel scale of HTK from 0 to half the rate (mel_filters). Throws
/// std::invalid_argument where a band is narrower than the grid of frequencies and would be empty.
at::Tensor mel_bands(std::int64_t bands, std::int64_t transform, std::int64_t rate_hz);

}  // namespace thaw::audio
