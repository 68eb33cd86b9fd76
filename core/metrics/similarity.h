#pragma once
// How alike two sets of pictures are, pair by pair.

#include <ATen/core/Tensor.h>

namespace thaw {

/// Pictures [N, C, ..., H, W] with values in [0, 1]; what lies between channels and height are more pictures of the
/// same sample. Both return float64 [N, K], K the number of its pictures. Throw DataError for unequal shapes.

/// 10 log10(1 / mean squared error) in decibel, over all channels; at most 120, which equal pictures have.
at::Tensor peak_signal_to_noise(const at::Tensor& a, const at::Tensor& b);

/// Structural similarity: Wang et al. 2004, section III.B and C: Gaussian window of 11 x 11 with sigma 1.5, K1 = 0.01,
/// K2 = 0.03, windows that lie inside the picture, moments by the window's weights; the mean over channels. Throws
/// DataError for pictures smaller than the window.
at::Tensor structural_similarity(const at::Tensor& a, const at::Tensor& b);

}  // namespace thaw
