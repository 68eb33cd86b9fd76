#pragma once
// Patches of samples with three dimensions. N batch, C channels, T times, H height, W width, L patches, D features

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw::nn {

struct Patch3d {
  std::int64_t times = 1, rows = 1, columns = 1;
  std::int64_t size() const { return times * rows * columns; }
};

/// How many patches a sample has along each dimension.
struct Grid3d {
  std::int64_t times = 1, rows = 1, columns = 1;
  std::int64_t size() const { return times * rows * columns; }
  bool operator==(const Grid3d&) const = default;
};

/// Of x [N, C, T, H, W]. Throws DataError where patches do not tile it.
Grid3d grid_of(const at::Tensor& x_NCTHW, const Patch3d& patch);

/// [N, C, T, H, W] -> [N, L, C pt ph pw] and back: patches row-major, time first; channels first inside one.
at::Tensor patchify_3d(const at::Tensor& x_NCTHW, const Patch3d& patch);
at::Tensor unpatchify_3d(const at::Tensor& x_NLD, const Grid3d& grid, const Patch3d& patch);

}  // namespace thaw::nn
