#pragma once
// From points to a grid of cells and back, in operations of libtorch that have derivatives on every device.
// N batch, C channels, K points, R cells a side

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw::points {

/// Places [N, 3, K] of points [N, 3, K] in a grid, within [0, R - 1]: each cloud centred at its mean, its farthest
/// point half a side away (Zhou et al. 2021 (PVD), Liu et al. 2019 (PVCNN)). A cloud of equal points lies in the
/// middle.
at::Tensor voxel_places(const at::Tensor& points_N3K, std::int64_t side);

/// The mean of the features [N, C, K] of those points whose nearest cell it is, [N, C, R, R, R]; empty cells are 0.
/// Liu et al. 2019, equation 2.
at::Tensor averaged_voxels(const at::Tensor& features_NCK, const at::Tensor& places_N3K, std::int64_t side);

/// Values of a grid [N, C, R, R, R] at places, between cells by trilinear interpolation, [N, C, K]. Section 4.1 there.
at::Tensor devoxelised(const at::Tensor& grid_NCRRR, const at::Tensor& places_N3K);

}  // namespace thaw::points
