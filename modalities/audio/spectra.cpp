#include "modalities/audio/spectra.h"

#include <stdexcept>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "modalities/audio/mel.h"

namespace thaw::audio {

at::Tensor power_spectra(const at::Tensor& sound_NT, const Frames& frames) {
  const std::int64_t half = frames.window / 2;
  const at::Tensor padded = at::constant_pad_nd(sound_NT, {half, frames.window - half});
  const at::Tensor pieces = padded.unfold(1, frames.window, frames.hop).narrow(1, 0, sound_NT.size(1) / frames.hop + 1);
  const at::Tensor window = at::hann_window(frames.window, sound_NT.options().requires_grad(false));
  const std::int64_t transform = frames.transform > 0 ? frames.transform : frames.window;
  const at::Tensor spectrum = at::view_as_real(at::fft_rfft(pieces * window, transform, -1));
  return spectrum.square().sum(-1).transpose(1, 2);
}

at::Tensor mel_bands(std::int64_t bands, std::int64_t transform, std::int64_t rate_hz) {
  MelOptions options;
  options.rate_hz = rate_hz;
  options.stft.n_fft = transform;
  options.mels = bands;
  options.lowest_hz = 0.0;
  options.highest_hz = 0.5 * static_cast<double>(rate_hz);
  options.scale = MelScale::kHtk;
  const at::Tensor triangles = mel_filters(options);
  if (triangles.sum(1).min().item<double>() <= 0.0)
    throw std::invalid_argument(
        concat(bands, " bands are narrower than the frequencies of a transform of ", transform, " samples"));
  return triangles.to(at::kFloat);
}

}  // namespace thaw::audio
