#include "modalities/points/voxels.h"

#include <vector>

#include <ATen/ATen.h>

namespace thaw::points {

at::Tensor voxel_places(const at::Tensor& points_N3K, std::int64_t side) {
  const at::Tensor centred = points_N3K - points_N3K.mean({2}, true);
  // Held away from 0 before the root, whose derivative there is not finite.
  const at::Tensor farthest = centred.square().sum({1}, true).amax({2}, true).clamp_min(1e-24).sqrt();
  const auto last = static_cast<double>(side - 1);
  return ((centred / (2.0 * farthest) + 0.5) * static_cast<double>(side)).clamp(0.0, last);
}

at::Tensor averaged_voxels(const at::Tensor& features_NCK, const at::Tensor& places_N3K, std::int64_t side) {
  const at::Tensor cells_N3K = places_N3K.detach().round().to(at::kLong);
  const at::Tensor index_N1K =
      ((cells_N3K.select(1, 0) * side + cells_N3K.select(1, 1)) * side + cells_N3K.select(1, 2)).unsqueeze(1);
  const std::int64_t n = features_NCK.size(0), c = features_NCK.size(1), cells = side * side * side;
  const at::Tensor sums =
      at::zeros({n, c, cells}, features_NCK.options()).scatter_add(2, index_N1K.expand({n, c, -1}), features_NCK);
  const at::Tensor counts = at::zeros({n, 1, cells}, features_NCK.options())
                                .scatter_add(2, index_N1K, at::ones(index_N1K.sizes(), features_NCK.options()));
  return (sums / counts.clamp_min(1.0)).reshape({n, c, side, side, side});
}

namespace {

/// devoxelised() in operations that have derivatives in forward mode, which grid_sampler_3d has not.
at::Tensor sum_of_corners(const at::Tensor& grid_NCRRR, const at::Tensor& places_N3K) {
  const std::int64_t side = grid_NCRRR.size(2);
  const at::Tensor places = places_N3K.clamp(0.0, static_cast<double>(side - 1));
  const at::Tensor low = places.detach().floor(), high_part = places - low, low_part = 1.0 - high_part;
  const at::Tensor low_index = low.to(at::kLong), high_index = (low_index + 1).clamp_max(side - 1);
  std::vector<at::Tensor> index, weight;
  for (int corner = 0; corner < 8; ++corner) {
    const bool is_high[3] = {(corner & 4) != 0, (corner & 2) != 0, (corner & 1) != 0};
    at::Tensor cell = at::zeros_like(low_index.select(1, 0)), share = at::ones_like(low.select(1, 0));
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      cell = cell * side + (is_high[axis] ? high_index : low_index).select(1, axis);
      share = share * (is_high[axis] ? high_part : low_part).select(1, axis);
    }
    index.push_back(cell);
    weight.push_back(share);
  }
  const at::Tensor index_N1L = at::cat(index, 1).unsqueeze(1), weight_N1L = at::cat(weight, 1).unsqueeze(1);
  const at::Tensor values_NCL = grid_NCRRR.flatten(2).gather(2, index_N1L.expand({-1, grid_NCRRR.size(1), -1}));
  return (values_NCL * weight_N1L).unflatten(2, {8, -1}).sum(2).to(grid_NCRRR.scalar_type());
}

}  // namespace

at::Tensor devoxelised(const at::Tensor& grid_NCRRR, const at::Tensor& places_N3K) {
  if (grid_NCRRR._fw_grad(0).defined() || places_N3K._fw_grad(0).defined())
    return sum_of_corners(grid_NCRRR, places_N3K);
  // grid_sampler wants the last dimension's place first, in [-1, 1] between the middles of the outermost cells.
  const auto last = static_cast<double>(grid_NCRRR.size(2) - 1);
  const at::Tensor places_N11K3 = (places_N3K.flip(1).transpose(1, 2) * (2.0 / last) - 1.0).unsqueeze(1).unsqueeze(1);
  constexpr std::int64_t kBilinear = 0, kBorder = 1;
  // In the type of the places: half types would move points by a sixteenth of a cell.
  const at::Tensor grid = grid_NCRRR.to(places_N11K3.scalar_type());
  return at::grid_sampler_3d(grid, places_N11K3, kBilinear, kBorder, true).flatten(2).to(grid_NCRRR.scalar_type());
}

}  // namespace thaw::points
