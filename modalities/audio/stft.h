#pragma once
// Short-time Fourier transforms and a way back from their magnitudes.
// N batch, T samples, F frequencies, K frames

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw::audio {

struct Stft {
  std::int64_t n_fft = 1024, hop = 256, window = 1024;  // samples; a Hann window, periodic, in the middle of n_fft

  std::int64_t frequencies() const { return n_fft / 2 + 1; }

  /// float32 [N, T] to complex [N, F, T / hop + 1]: frame k is centred at sample k hop, ends mirrored, as torch.stft
  /// and torchaudio have it. Throws std::invalid_argument for T below n_fft / 2 + 1.
  at::Tensor forward(const at::Tensor& sound_NT) const;
  /// The least-squares inverse, of this many samples (Griffin and Lim 1984, equation 6).
  at::Tensor inverse(const at::Tensor& spectrum_NFK, std::int64_t length) const;
};

struct GriffinLim {
  std::int64_t iterations = 32;
  double momentum = 0.99;  // 0: Griffin and Lim 1984; 0.99: fast (Perraudin, Balazs, Sondergaard 2013)
};

/// A sound [N, length] whose magnitudes come close to [N, F, K]. The first phases are functions of frequency and frame
/// alone, so that equal magnitudes give equal sounds.
at::Tensor sound_of_magnitudes(const at::Tensor& magnitudes_NFK, const Stft& stft, const GriffinLim& how,
                               std::int64_t length);

}  // namespace thaw::audio
