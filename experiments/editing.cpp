#include "experiments/editing.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <ATen/ATen.h>

namespace thaw {

Grid last_part(const Grid& grid, double strength) {
  const auto steps = static_cast<double>(grid.steps());
  const auto kept = static_cast<std::size_t>(std::max(1.0, std::floor(strength * steps)));
  const auto dropped = static_cast<std::ptrdiff_t>(grid.steps() - std::min(grid.steps(), kept));
  Grid part = grid;
  part.levels.erase(part.levels.begin(), part.levels.begin() + dropped);
  part.times.erase(part.times.begin(), part.times.begin() + dropped);
  return part;
}

at::Tensor rows_of(const at::Tensor& tensor, std::int64_t first, std::int64_t count, const at::Tensor& like) {
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(std::min(first + i, tensor.size(0) - 1));
  return tensor.index_select(0, at::tensor(rows, at::kLong).to(tensor.device())).to(like.device(), like.scalar_type());
}

at::Tensor repeated(const at::Tensor& x, std::int64_t positions) {
  if (x.size(2) == positions) return x;
  const at::Tensor own = at::arange(positions, at::kLong) * x.size(2);
  return x.index_select(2, own.div(positions, "floor").to(x.device()));
}

Hook keep_known(KnownPart part, NoiseSource& noise) {
  return [part = std::move(part), &noise, marks = std::make_shared<std::uint32_t>(0)](const Mark& mark, Latent& x) {
    const bool is_kept = part.noise.defined();
    at::Tensor level = part.known * (is_kept && mark.level == part.end ? 1.0 : mark.level.alpha);
    if (is_kept && mark.level != part.end) level.add_(part.noise, mark.level.sigma);
    if (!is_kept && !mark.level.is_clean()) {
      const Draw draw{.is_path = false, .stream = kHookStream, .ordinal = *marks, .from = 0.0, .to = 0.0};
      level.add_(noise.draw(draw, x).front(), mark.level.sigma);
    }
    ++*marks;
    at::Tensor& state = x.streams.front().second;
    state.mul_(1 - part.mask).add_(level.mul_(part.mask));
  };
}

}  // namespace thaw
