#pragma once
// How far the magnitudes of short-time spectra lie apart, at several resolutions. Yamamoto et al. 2020 (Parallel
// WaveGAN), eq. 6 to 9; Steinmetz and Reiss 2020 (auraloss). N batch, C channels, T places

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

namespace thaw {

/// Samples of a transform, from frame to frame, and of the Hann window in its middle.
struct SpectralResolution {
  std::int64_t transform, hop, window;
};

/// Of each sample, the mean over resolutions of the spectral convergence |S(x) - S(y)| / |S(x)| (Frobenius norms over
/// channels, frequencies and frames) and the mean absolute difference of the logarithms; S are magnitudes whose squares
/// are at least `least_power`. x is what y should be; both [N, C, T], T above half of each transform, since ends are
/// mirrored. Returns [N] in their type.
at::Tensor spectral_distance(const at::Tensor& y_NCT, const at::Tensor& x_NCT,
                             std::span<const SpectralResolution> resolutions, double least_power);

/// The same as a loss: windows of these lengths, at least 4, that overlap by three quarters; squared magnitudes are at
/// least 1e-7, below which logarithms of float32 are of rounding and gradients grow without bound.
at::Tensor spectral_distance(const at::Tensor& y_NCT, const at::Tensor& x_NCT,
                             const std::vector<std::int64_t>& windows);

}  // namespace thaw
