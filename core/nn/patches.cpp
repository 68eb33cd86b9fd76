#include "core/nn/patches.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::nn {

Grid3d grid_of(const at::Tensor& x_NCTHW, const Patch3d& patch) {
  if (x_NCTHW.dim() != 5)
    throw DataError(concat("network input: expected [N, C, T, H, W], got ", x_NCTHW.sizes(), "."));
  const std::int64_t t = x_NCTHW.size(2), h = x_NCTHW.size(3), w = x_NCTHW.size(4);
  if (t < 1 || h < 1 || w < 1 || t % patch.times != 0 || h % patch.rows != 0 || w % patch.columns != 0)
    throw DataError(concat("network input: patches of ", patch.times, " x ", patch.rows, " x ", patch.columns,
                           " do not tile ", x_NCTHW.sizes(), "."));
  return {t / patch.times, h / patch.rows, w / patch.columns};
}

at::Tensor patchify_3d(const at::Tensor& x_NCTHW, const Patch3d& patch) {
  const Grid3d grid = grid_of(x_NCTHW, patch);
  return x_NCTHW
      .reshape({x_NCTHW.size(0), x_NCTHW.size(1), grid.times, patch.times, grid.rows, patch.rows, grid.columns,
                patch.columns})
      .permute({0, 2, 4, 6, 1, 3, 5, 7})
      .reshape({x_NCTHW.size(0), grid.size(), -1});
}

at::Tensor unpatchify_3d(const at::Tensor& x_NLD, const Grid3d& grid, const Patch3d& patch) {
  return x_NLD.reshape({x_NLD.size(0), grid.times, grid.rows, grid.columns, -1, patch.times, patch.rows, patch.columns})
      .permute({0, 4, 1, 5, 2, 6, 3, 7})
      .reshape({x_NLD.size(0), -1, grid.times * patch.times, grid.rows * patch.rows, grid.columns * patch.columns});
}

}  // namespace thaw::nn
