#pragma once
// Mel spectrograms in decibels or logarithms, by the published formulas, and back.
// N batch, T samples, F frequencies, M mels, K frames

#include <string>
#include <vector>

#include "modalities/audio/stft.h"

namespace thaw::audio {

enum class MelScale { kHtk, kSlaney };
enum class MelNorm { kNone, kSlaney };  // kSlaney: each triangle has area 1
enum class SpectrumNorm {
  kNone,
  kWindow,  // divided by the window's 2-norm (torchaudio's normalized=True)
  kSine     // a sine of amplitude 1 in the middle of a frequency has magnitude 1
};

/// encoded = (level - mean) / spread, level = factor log10(max(mel, floor)), mel = filters |STFT|^power.
struct MelOptions {
  std::int64_t rate_hz = 16000;
  Stft stft{};
  std::int64_t mels = 64;
  double lowest_hz = 30.0, highest_hz = 8000.0;
  MelScale scale = MelScale::kSlaney;
  MelNorm norm = MelNorm::kNone;
  SpectrumNorm spectrum = SpectrumNorm::kSine;
  double power = 1.0;
  double floor = 1e-4;
  double factor = 20.0;  // ln(10) for natural logarithms
  double mean = -40.0, spread = 40.0;
  double most = 0.0;  // |encoded| is cut to this; 0: not
};

/// Parameters that published networks were trained with, each by the formula of its own code: "thaw", "diffwave",
/// "audioldm", "torchaudio".
MelOptions mel_preset(const std::string& name);

/// Triangles [M, F] on the frequencies of an STFT (torchaudio.functional.melscale_fbanks, transposed). Slaney 1998
/// (Auditory Toolbox); HTK book, section 5.4. A filter narrower than the grid of frequencies is all zero, as there.
at::Tensor mel_filters(const MelOptions& options);

double mel_of(double hz, MelScale scale);
double hz_of(double mel, MelScale scale);

class MelTransform {
 public:
  explicit MelTransform(const MelOptions& options);
  const MelOptions& options() const { return options_; }

  /// float32 [N, T] to mel magnitudes [N, M, T / hop + 1], before the logarithm.
  at::Tensor mels(const at::Tensor& sound_NT) const;
  /// Encoded [N, M, T / hop + 1].
  at::Tensor forward(const at::Tensor& sound_NT) const;
  /// Magnitudes [N, F, K] of encoded [N, M, K]: the least-squares solution that is nowhere negative, found from the
  /// pseudo-inverse by multiplicative steps (Lee and Seung 2001).
  at::Tensor magnitudes(const at::Tensor& encoded_NMK) const;
  /// Sounds [N, length] of encoded [N, M, K].
  at::Tensor inverse(const at::Tensor& encoded_NMK, const GriffinLim& how, std::int64_t length) const;

 private:
  MelOptions options_;
  double unit_;  // a magnitude of the STFT is divided by it
  at::Tensor filters_MF_, inverse_FM_;
};

}  // namespace thaw::audio
