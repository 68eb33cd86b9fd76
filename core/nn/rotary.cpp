#include "core/nn/rotary.h"

#include <ATen/ATen.h>

namespace thaw::nn {

Rotation rotation_of(const at::Tensor& places, const std::vector<std::int64_t>& axes, double theta) {
  std::vector<at::Tensor> angles;
  const auto options = places.options().dtype(at::kDouble);
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    const at::Tensor exponent = at::arange(0, axes[axis], 2, options) / static_cast<double>(axes[axis]);
    const at::Tensor frequency = 1.0 / at::pow(theta, exponent);
    const at::Tensor place = places.select(-1, static_cast<std::int64_t>(axis)).to(at::kDouble);
    angles.push_back((place.unsqueeze(-1) * frequency).repeat_interleave(2, -1));
  }
  at::Tensor angle = at::cat(angles, -1);
  if (places.dim() == 3) angle = angle.unsqueeze(1);
  return {angle.cos().to(at::kFloat), angle.sin().to(at::kFloat)};
}

at::Tensor rotated(const at::Tensor& x_NhLD, const Rotation& rotation) {
  const auto pairs = x_NhLD.reshape({x_NhLD.size(0), x_NhLD.size(1), x_NhLD.size(2), -1, 2}).unbind(-1);
  const at::Tensor turned = at::stack({-pairs[1], pairs[0]}, -1).flatten(3);
  return (x_NhLD * rotation.cos_LD + turned * rotation.sin_LD).to(x_NhLD.scalar_type());
}

std::vector<std::int64_t> rotary_axes_3d(std::int64_t head_width) {
  const std::int64_t side = 2 * (head_width / 6);
  return {head_width - 2 * side, side, side};
}

at::Tensor places_3d(const Grid3d& grid, const c10::Device& device) {
  const auto axis = [&](std::int64_t count, at::IntArrayRef shape) {
    return at::arange(count, at::TensorOptions(device).dtype(at::kDouble))
        .reshape(shape)
        .expand({grid.times, grid.rows, grid.columns});
  };
  return at::stack({axis(grid.times, {-1, 1, 1}), axis(grid.rows, {1, -1, 1}), axis(grid.columns, {1, 1, -1})}, 3)
      .flatten(0, 2);
}

}  // namespace thaw::nn
