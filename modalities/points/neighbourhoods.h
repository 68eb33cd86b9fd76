#pragma once
// Which points stand for a cloud and which lie near them. What is chosen has no derivative; what is taken there has, in
// both directions, in operations of libtorch for every device. Distances are measured in float32, or float64 where the
// points are.
// N batch, C channels, K points, M centres, U neighbours

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw::points {

/// What a choice among points depends on: where they lie alone, or also their order as in the code of PVD.
enum class Choice { kByPlace, kByOrder };

/// Indices [N, M] of points [N, 3, K], each the farthest from those before it: Eldar et al. 1997; Qi et al. 2017
/// (PointNet++), section 3.2. By place the first is the farthest from the mean, by order point 0. Where no other place
/// is left a point is named again.
at::Tensor farthest_points(const at::Tensor& points_N3K, std::int64_t count, Choice choice);

/// Indices [N, M, U] of points less than `radius` from centres [N, 3, M]: by place the U nearest, nearest first; by
/// order the first U. Fewer are filled up with the first of them. Where there are none, by place the nearest point
/// stands alone, by order point 0.
at::Tensor ball_neighbours(const at::Tensor& centres_N3M, const at::Tensor& points_N3K, double radius,
                           std::int64_t count, Choice choice);

/// Features [N, C, M] of centres brought to points [N, 3, K]: the mean of the three nearest, weighted by one over their
/// squared distance, which is held within [1e-10, 1e10]. Qi et al. 2017, equation 2. [N, C, K]
at::Tensor interpolated(const at::Tensor& points_N3K, const at::Tensor& centres_N3M, const at::Tensor& features_NCM);

/// x [N, C, K] at indices [N, ...]: [N, C, ...].
at::Tensor taken_at(const at::Tensor& x_NCK, const at::Tensor& index_NM);

}  // namespace thaw::points
