#pragma once
// Rotary positions in any number of dimensions. Su et al. 2021 (RoFormer), eq. 34, neighbours as pairs.
// L tokens, A axes, D features of a head

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/nn/patches.h"

namespace thaw::nn {

struct Rotation {
  at::Tensor cos_LD, sin_LD;  // float32; [N, 1, L, D] where samples have their own places
};

/// Of places [L, A] or [N, L, A]: the a-th axis turns axes[a] features, an even number of them. Angles in float64: at
/// place 1000 a float32 frequency is wrong in the fourth digit of the sine.
Rotation rotation_of(const at::Tensor& places, const std::vector<std::int64_t>& axes, double theta = 10000.0);

/// Turns the pairs (2 i, 2 i + 1) of the last dimension. Products of two turned vectors depend on the difference of
/// their places alone. x [N, h, L, D], in whose type the result is.
at::Tensor rotated(const at::Tensor& x_NhLD, const Rotation& rotation);

/// How a head's features are shared out among time, rows and columns: twice floor(D / 6) for each side, the rest for
/// time, as in Wan (2025). head_width is even.
std::vector<std::int64_t> rotary_axes_3d(std::int64_t head_width);

/// Time, row and column of each patch of a grid, float64 [L, 3], in the order of patchify_3d.
at::Tensor places_3d(const Grid3d& grid, const c10::Device& device);

}  // namespace thaw::nn
