#include "modalities/points/neighbourhoods.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace thaw::points {

namespace {

// Distances held at a time: 16 MiB of float32, and as much again for the differences of one axis.
constexpr std::int64_t kMostPairs = std::int64_t{1} << 22;

// Half types would take points of one place for each other.
at::Tensor searched(const at::Tensor& points) {
  return points.detach().to(points.scalar_type() == at::kDouble ? at::kDouble : at::kFloat).contiguous();
}

// Differences are squared as they are: |a|^2 - 2ab + |b|^2 loses digits and turns negative.
at::Tensor squared_distances(const at::Tensor& a_N3M, const at::Tensor& b_N3K) {
  at::Tensor squared_NMK;
  for (std::int64_t axis = 0; axis < 3; ++axis) {
    at::Tensor difference = a_N3M.select(1, axis).unsqueeze(2) - b_N3K.select(1, axis).unsqueeze(1);
    squared_NMK = axis == 0 ? difference.square_() : squared_NMK.addcmul_(difference, difference);
  }
  return squared_NMK;
}

/// `choose` makes [N, m, U] of the squared distances [N, m, K] of some of the points a.
template <class Choose>
at::Tensor chosen_in_blocks(const at::Tensor& a_N3M, const at::Tensor& b_N3K, const Choose& choose) {
  const at::Tensor a = searched(a_N3M), b = searched(b_N3K);
  const std::int64_t count = a.size(2), block = std::max<std::int64_t>(1, kMostPairs / (b.size(0) * b.size(2)));
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < count; first += block)
    parts.push_back(choose(squared_distances(a.narrow(2, first, std::min(block, count - first)), b)));
  return at::cat(parts, 1);
}

}  // namespace

at::Tensor farthest_points(const at::Tensor& points_N3K, std::int64_t count, Choice choice) {
  const c10::NoGradGuard no_grad;
  const at::Tensor points = searched(points_N3K);
  const std::int64_t n = points.size(0), k = points.size(2);
  at::Tensor chosen_N1 = at::zeros({n, 1}, points.options().dtype(at::kLong));
  // The mean in float64: its last digits depend on the order of the points.
  if (choice == Choice::kByPlace)
    chosen_N1 = (points - points.mean({2}, true, at::kDouble)).square().sum(1).argmax(1, true);
  std::vector<at::Tensor> all{chosen_N1};
  at::Tensor away_NK = at::full({n, k}, std::numeric_limits<double>::infinity(), points.options());
  at::Tensor difference_N3K = at::empty_like(points), squared_NK = at::empty_like(away_NK);
  for (std::int64_t i = 1; i < count; ++i) {
    at::sub_out(difference_N3K, points, points.gather(2, chosen_N1.unsqueeze(1).expand({n, 3, 1})));
    at::sum_out(squared_NK, difference_N3K.square_(), {1});
    at::minimum_out(away_NK, away_NK, squared_NK);
    chosen_N1 = away_NK.argmax(1, true);
    all.push_back(chosen_N1);
  }
  return at::cat(all, 1);
}

at::Tensor ball_neighbours(const at::Tensor& centres_N3M, const at::Tensor& points_N3K, double radius,
                           std::int64_t count, Choice choice) {
  const c10::NoGradGuard no_grad;
  const std::int64_t k = points_N3K.size(2), found = std::min(count, k);
  const at::Tensor numbers_K = at::arange(k, points_N3K.options().dtype(at::kInt));
  const at::Tensor index_NMU = chosen_in_blocks(centres_N3M, points_N3K, [&](const at::Tensor& squared_NMK) {
    if (choice == Choice::kByPlace) {
      const auto [squared, index] = squared_NMK.topk(found, 2, false, true);
      return at::where(squared < radius * radius, index, index.narrow(2, 0, 1));
    }
    // The k-th stands for points that are outside: they come last in order.
    const at::Tensor inside = at::where(squared_NMK < radius * radius, numbers_K, static_cast<int>(k)).to(at::kInt);
    const at::Tensor index = std::get<0>(inside.topk(found, 2, false, true)).to(at::kLong);
    const at::Tensor first = index.narrow(2, 0, 1);
    return at::where(index < k, index, at::where(first < k, first, 0));
  });
  if (found == count) return index_NMU;
  return at::cat({index_NMU, index_NMU.narrow(2, 0, 1).expand({-1, -1, count - found})}, 2);
}

at::Tensor interpolated(const at::Tensor& points_N3K, const at::Tensor& centres_N3M, const at::Tensor& features_NCM) {
  const std::int64_t near = std::min<std::int64_t>(3, centres_N3M.size(2));
  at::Tensor index_NKU;
  {
    const c10::NoGradGuard no_grad;
    index_NKU = chosen_in_blocks(points_N3K, centres_N3M, [near](const at::Tensor& squared_NKM) {
      return std::get<1>(squared_NKM.topk(near, 2, false, true));
    });
  }
  const at::Tensor offset_N3KU = taken_at(centres_N3M, index_NKU) - points_N3K.unsqueeze(3);
  const at::Tensor closeness_NKU = offset_N3KU.square().sum(1).clamp(1e-10, 1e10).reciprocal();
  const at::Tensor weight_NKU = closeness_NKU / closeness_NKU.sum(2, true);
  return (taken_at(features_NCM, index_NKU) * weight_NKU.unsqueeze(1)).sum(3);
}

at::Tensor taken_at(const at::Tensor& x_NCK, const at::Tensor& index_NM) {
  std::vector<std::int64_t> shape = index_NM.sizes().vec();
  shape.insert(shape.begin() + 1, x_NCK.size(1));
  return x_NCK.gather(2, index_NM.flatten(1).unsqueeze(1).expand({-1, x_NCK.size(1), -1})).reshape(shape);
}

}  // namespace thaw::points
