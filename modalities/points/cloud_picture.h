#pragma once
// Clouds as pictures: points as small discs, near ones over far ones.

#include <ATen/core/Tensor.h>

#include "modalities/points/clouds.h"

namespace thaw::points {

/// Where a cloud is seen from; y is up.
struct View {
  double turn = 0.5;        // around y, in radians
  double tilt = 0.35;       // from above
  std::int64_t side = 128;  // pixels
};

/// float32 [N, C, K] -> uint8 [N, 3, side, side] on white, orthographic. Each cloud fills its picture, whatever its
/// size (the same in all views); a hundredth of the points may lie outside. Points are lighter the farther they are, or
/// have their own colours. Points that are not finite are left out.
at::Tensor cloud_pictures(const at::Tensor& clouds_NCK, More more, const View& view);

}  // namespace thaw::points
