#include "modalities/points/views.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

#include <ATen/ATen.h>

#include "modalities/points/surface_parts.h"

namespace thaw::points {

namespace {

constexpr double kPointsACell = 2.0;                // of the box around what is seen
constexpr std::uint64_t kDirection = 0, kTurn = 1;  // counters of a key

struct View {
  Vec right, up, away;  // of length 1, at right angles
};

// Uniform on the sphere: the height is uniform (Archimedes).
View view_of(const NoiseKey& key) {
  const double height = 2 * uniform(key, kDirection) - 1, turn = 2 * std::numbers::pi * uniform(key, kTurn);
  const double flat = std::sqrt(1 - height * height);
  const Vec away{flat * std::cos(turn), height, flat * std::sin(turn)};
  const Vec other = std::abs(away.y) < 0.9 ? Vec{0, 1, 0} : Vec{1, 0, 0};
  const Vec side = cross(other, away);
  const Vec right = (1 / length(side)) * side;
  return {right, cross(away, right), away};
}

struct Seen {
  std::vector<double> depths;
  std::vector<bool> is_seen;
};

Seen look(const at::Tensor& cloud_CK, const View& view) {
  const auto places = cloud_CK.narrow(0, 0, 3).to(at::kDouble).contiguous();
  const auto count = static_cast<std::size_t>(places.size(1));
  const double* at = places.const_data_ptr<double>();
  std::vector<double> across(count), up(count);
  Seen seen{std::vector<double>(count), std::vector<bool>(count)};
  for (std::size_t i = 0; i < count; ++i) {
    const Vec place{at[i], at[count + i], at[2 * count + i]};
    across[i] = dot(place, view.right);
    up[i] = dot(place, view.up);
    seen.depths[i] = dot(place, view.away);
  }
  const auto [left, rightmost] = std::ranges::minmax_element(across);
  const auto [low, high] = std::ranges::minmax_element(up);
  const double width = *rightmost - *left, height = *high - *low;
  const double cell = std::max({std::sqrt(kPointsACell * width * height / static_cast<double>(count)),
                                std::max(width, height) / static_cast<double>(2 * count), 1e-12});
  const auto columns = static_cast<std::size_t>(width / cell) + 1, rows = static_cast<std::size_t>(height / cell) + 1;
  const auto column_of = [&](std::size_t i) { return static_cast<std::size_t>((across[i] - *left) / cell); };
  const auto row_of = [&](std::size_t i) { return static_cast<std::size_t>((up[i] - *low) / cell); };
  std::vector<double> nearest(columns * rows, std::numeric_limits<double>::infinity());
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t column = column_of(i), row = row_of(i);
    for (std::size_t r = row - std::min<std::size_t>(row, 1); r < std::min(rows, row + 2); ++r)
      for (std::size_t c = column - std::min<std::size_t>(column, 1); c < std::min(columns, column + 2); ++c)
        nearest[r * columns + c] = std::min(nearest[r * columns + c], seen.depths[i]);
  }
  for (std::size_t i = 0; i < count; ++i)
    seen.is_seen[i] = seen.depths[i] <= nearest[row_of(i) * columns + column_of(i)] + 2 * cell;
  return seen;
}

}  // namespace

at::Tensor seen_first(const at::Tensor& cloud_CK, const NoiseKey& key) {
  const Seen seen = look(cloud_CK, view_of(key));
  std::vector<std::int64_t> order(seen.depths.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::int64_t a, std::int64_t b) {
    const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
    if (seen.is_seen[i] != seen.is_seen[j]) return static_cast<bool>(seen.is_seen[i]);
    return !seen.is_seen[i] && seen.depths[i] < seen.depths[j];
  });
  return cloud_CK.index_select(1, at::tensor(order, at::kLong));
}

Option order_option() {
  return {"order",
          std::string("random"),
          "view: the points seen from a random side come first (docs/points.md, completion)",
          0,
          0,
          {"random", "view"}};
}

at::Tensor in_order(const at::Tensor& cloud_CK, const std::string& order, const NoiseKey& key) {
  return order == "view" ? seen_first(cloud_CK, key) : cloud_CK;
}

}  // namespace thaw::points
