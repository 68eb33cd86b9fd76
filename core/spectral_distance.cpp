#include "core/spectral_distance.h"

#include <ATen/ATen.h>

namespace thaw {

namespace {

// Of a power: below it logarithms are of rounding, and gradients of square roots grow without bound.
constexpr double kLeastPower = 1e-7;

/// [N, C * frequencies, frames]
at::Tensor magnitudes(const at::Tensor& x_NCT, std::int64_t window) {
  const at::Tensor hann = at::hann_window(window, x_NCT.options());
  const at::Tensor spectrum = at::view_as_real(
      at::stft(x_NCT.flatten(0, 1), window, window / 4, window, hann, true, "reflect", false, true, true));
  return spectrum.square().sum(-1).clamp_min(kLeastPower).sqrt().unflatten(0, {x_NCT.size(0), -1}).flatten(1, 2);
}

}  // namespace

at::Tensor spectral_distance(const at::Tensor& y_NCT, const at::Tensor& x_NCT,
                             const std::vector<std::int64_t>& windows) {
  at::Tensor sum = at::zeros({x_NCT.size(0)}, x_NCT.options());
  for (const std::int64_t window : windows) {
    const at::Tensor y = magnitudes(y_NCT, window).flatten(1), x = magnitudes(x_NCT, window).flatten(1);
    // Norms, not square roots of sums: their derivative where there is no distance is 0.
    const at::Tensor convergence = at::linalg_vector_norm(x - y, 2, {1}) / at::linalg_vector_norm(x, 2, {1});
    sum = sum + convergence + (x.log() - y.log()).abs().mean(1);
  }
  return sum / static_cast<double>(windows.size());
}

}  // namespace thaw
