#pragma once
// How far the magnitudes of short-time spectra lie apart, at several resolutions. Yamamoto et al. 2020 (Parallel
// WaveGAN), eq. 6 to 9; Steinmetz and Reiss 2020 (auraloss). N batch, C channels, T places

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace thaw {

/// Of each sample, the mean over window sizes of the spectral convergence |S(x) - S(y)| / |S(x)| (Frobenius norms over
/// channels, frequencies and frames) and the mean absolute difference of the logarithms; S are magnitudes under Hann
/// windows that overlap by three quarters. x is what y should be; both float32 [N, C, T]. A window is at least 4 long
/// and at most 2 T - 2, since sounds are reflected at their ends by half of it. Returns [N].
at::Tensor spectral_distance(const at::Tensor& y_NCT, const at::Tensor& x_NCT,
                             const std::vector<std::int64_t>& windows);

}  // namespace thaw
