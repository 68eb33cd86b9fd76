#include "modalities/audio/stft.h"

#include <numbers>
#include <stdexcept>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw::audio {

namespace {

at::Tensor window_of(const Stft& stft, const at::Tensor& like) {
  return at::hann_window(stft.window, like.options().dtype(at::kFloat));
}

at::Tensor first_phases(const at::Tensor& magnitudes_NFK) {
  at::Tensor angles_FK = at::empty({magnitudes_NFK.size(1), magnitudes_NFK.size(2)}, at::kFloat);
  fill_normal({angles_FK.data_ptr<float>(), static_cast<std::size_t>(angles_FK.numel())},
              {0, Purpose::kCodec, 0, 0, 0});
  angles_FK = angles_FK.mul_(std::numbers::pi).to(magnitudes_NFK.device());
  return at::polar(at::ones_like(angles_FK), angles_FK).unsqueeze(0);
}

}  // namespace

at::Tensor Stft::forward(const at::Tensor& sound_NT) const {
  if (sound_NT.size(-1) <= n_fft / 2)
    throw std::invalid_argument(concat("stft: ", sound_NT.size(-1), " samples, more than ", n_fft / 2, " are needed"));
  return at::stft(sound_NT, n_fft, hop, window, window_of(*this, sound_NT), true, "reflect", false, true, true);
}

at::Tensor Stft::inverse(const at::Tensor& spectrum_NFK, std::int64_t length) const {
  return at::istft(spectrum_NFK, n_fft, hop, window, window_of(*this, at::real(spectrum_NFK)), true, false, true,
                   length, false);
}

at::Tensor sound_of_magnitudes(const at::Tensor& magnitudes_NFK, const Stft& stft, const GriffinLim& how,
                               std::int64_t length) {
  at::Tensor phases = first_phases(magnitudes_NFK), last;
  for (std::int64_t i = 0; i < how.iterations; ++i) {
    // Perraudin et al. 2013, algorithm 2: what the projection changed goes on with momentum.
    const at::Tensor projected = stft.forward(stft.inverse(magnitudes_NFK * phases, length));
    const at::Tensor ahead = last.defined() ? projected + (projected - last) * how.momentum : projected;
    phases = ahead / ahead.abs().clamp_min(1e-12);
    last = projected;
  }
  return stft.inverse(magnitudes_NFK * phases, length);
}

}  // namespace thaw::audio
