#include "core/spectral_distance.h"

#include <ATen/ATen.h>

namespace thaw {

namespace {

/// [N, C * frequencies * frames]
at::Tensor magnitudes(const at::Tensor& x_NCT, const SpectralResolution& r, double least_power) {
  const at::Tensor hann = at::hann_window(r.window, x_NCT.options());
  const at::Tensor spectrum = at::view_as_real(
      at::stft(x_NCT.flatten(0, 1), r.transform, r.hop, r.window, hann, true, "reflect", false, true, true));
  return spectrum.square().sum(-1).clamp_min(least_power).sqrt().unflatten(0, {x_NCT.size(0), -1}).flatten(1);
}

}  // namespace

at::Tensor spectral_distance(const at::Tensor& y_NCT, const at::Tensor& x_NCT,
                             std::span<const SpectralResolution> resolutions, double least_power) {
  at::Tensor sum = at::zeros({x_NCT.size(0)}, x_NCT.options());
  for (const SpectralResolution& resolution : resolutions) {
    const at::Tensor y = magnitudes(y_NCT, resolution, least_power), x = magnitudes(x_NCT, resolution, least_power);
    // Norms, not square roots of sums: their derivative where there is no distance is 0.
    const at::Tensor convergence = at::linalg_vector_norm(x - y, 2, {1}) / at::linalg_vector_norm(x, 2, {1});
    sum = sum + convergence + (x.log() - y.log()).abs().mean(1);
  }
  return sum / static_cast<double>(resolutions.size());
}

at::Tensor spectral_distance(const at::Tensor& y_NCT, const at::Tensor& x_NCT,
                             const std::vector<std::int64_t>& windows) {
  constexpr double kLeastPower = 1e-7;
  std::vector<SpectralResolution> resolutions;
  for (const std::int64_t window : windows) resolutions.push_back({window, window / 4, window});
  return spectral_distance(y_NCT, x_NCT, resolutions, kLeastPower);
}

}  // namespace thaw
