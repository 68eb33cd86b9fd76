#include "modalities/points/voxels.h"

#include <ATen/ATen.h>

namespace thaw::points {

at::Tensor voxel_places(const at::Tensor& points_N3K, std::int64_t side) {
  const at::Tensor centred = points_N3K - points_N3K.mean({2}, true);
  const at::Tensor farthest = centred.square().sum({1}, true).amax({2}, true).sqrt().clamp_min(1e-12);
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

at::Tensor devoxelised(const at::Tensor& grid_NCRRR, const at::Tensor& places_N3K) {
  // grid_sampler wants the last dimension's place first, in [-1, 1] between the middles of the outermost cells.
  const auto last = static_cast<double>(grid_NCRRR.size(2) - 1);
  const at::Tensor places_N11K3 =
      (places_N3K.flip(1).transpose(1, 2) * (2.0 / last) - 1.0).unsqueeze(1).unsqueeze(1).to(grid_NCRRR.scalar_type());
  constexpr std::int64_t kBilinear = 0, kBorder = 1;
  return at::grid_sampler_3d(grid_NCRRR, places_N11K3, kBilinear, kBorder, true).flatten(2);
}

}  // namespace thaw::points
