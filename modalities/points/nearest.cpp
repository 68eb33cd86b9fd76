// GCC 12 keeps the registers of the inner loop full only at O3.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#include "modalities/points/nearest.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include <ATen/ATen.h>
#include <nanoflann.hpp>

namespace thaw::points {

namespace {

constexpr std::int64_t kLanes = 8, kRows = 4;
constexpr float kFar = std::numeric_limits<float>::infinity();
// Above this many pairs the tree is faster: measured on clouds of shapes, 2 cores.
constexpr std::int64_t kMostPairs = std::int64_t{6000} * 6000;

using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

Lanes load(const float* from) {
  Lanes value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// x, y and z of a cloud, filled up to whole vectors by points infinitely far away.
struct Padded {
  std::vector<float> rows[3];
  std::int64_t count = 0;
  explicit Padded(const at::Tensor& cloud_3n, std::int64_t multiple) {
    const std::int64_t n = cloud_3n.size(1);
    count = (n + multiple - 1) / multiple * multiple;
    for (std::int64_t c = 0; c < 3; ++c) {
      const float* from = cloud_3n.data_ptr<float>() + c * n;
      rows[c].assign(from, from + n);
      rows[c].resize(static_cast<std::size_t>(count), c == 0 ? kFar : 0.0F);
    }
  }
};

float least(const Lanes& lanes) {
  float value = lanes[0];
  for (std::int64_t l = 1; l < kLanes; ++l) value = std::min(value, lanes[l]);
  return value;
}

/// A cloud as nanoflann wants it.
struct TreePoints {
  const float* points;
  std::int64_t count;
  std::size_t kdtree_get_point_count() const { return static_cast<std::size_t>(count); }
  float kdtree_get_pt(std::size_t i, std::size_t c) const {
    return points[static_cast<std::int64_t>(c) * count + static_cast<std::int64_t>(i)];
  }
  template <class Box>
  bool kdtree_get_bbox(Box&) const {
    return false;
  }
};
using Tree =
    nanoflann::KDTreeSingleIndexAdaptor<nanoflann::L2_Simple_Adaptor<float, TreePoints>, TreePoints, 3, std::uint32_t>;

template <class Take>
void ask_tree(const at::Tensor& points_3n, const at::Tensor& places_3m, const Take& take) {
  const TreePoints places{places_3m.data_ptr<float>(), places_3m.size(1)};
  const Tree tree(3, places, nanoflann::KDTreeSingleIndexAdaptorParams(10));
  const TreePoints points{points_3n.data_ptr<float>(), points_3n.size(1)};
  for (std::size_t i = 0; i < points.kdtree_get_point_count(); ++i) {
    const float query[3] = {points.kdtree_get_pt(i, 0), points.kdtree_get_pt(i, 1), points.kdtree_get_pt(i, 2)};
    std::uint32_t index = 0;
    float squared = 0;
    tree.knnSearch(query, 1, &index, &squared);
    take(i, index, squared);
  }
}

}  // namespace

Nearest nearest_by_all_pairs(const at::Tensor& a_3n, const at::Tensor& b_3m) {
  const Padded a(a_3n, kRows), b(b_3m, kLanes);
  Nearest nearest{std::vector<float>(static_cast<std::size_t>(a.count)),
                  std::vector<float>(static_cast<std::size_t>(b.count), kFar)};
  const float *bx = b.rows[0].data(), *by = b.rows[1].data(), *bz = b.rows[2].data();
  for (std::int64_t i = 0; i < a.count; i += kRows) {
    Lanes row[kRows];
    for (Lanes& lanes : row) lanes = kFar - Lanes{};
    for (std::int64_t j = 0; j < b.count; j += kLanes) {
      const Lanes x = load(bx + j), y = load(by + j), z = load(bz + j);
      Lanes column = load(nearest.to_a.data() + j);
      for (std::int64_t r = 0; r < kRows; ++r) {
        const Lanes dx = x - a.rows[0][static_cast<std::size_t>(i + r)];
        const Lanes dy = y - a.rows[1][static_cast<std::size_t>(i + r)];
        const Lanes dz = z - a.rows[2][static_cast<std::size_t>(i + r)];
        const Lanes squared = dx * dx + dy * dy + dz * dz;
        row[r] = squared < row[r] ? squared : row[r];
        column = squared < column ? squared : column;
      }
      std::memcpy(nearest.to_a.data() + j, &column, sizeof column);
    }
    for (std::int64_t r = 0; r < kRows; ++r) nearest.to_b[static_cast<std::size_t>(i + r)] = least(row[r]);
  }
  nearest.to_b.resize(static_cast<std::size_t>(a_3n.size(1)));
  nearest.to_a.resize(static_cast<std::size_t>(b_3m.size(1)));
  return nearest;
}

Nearest nearest_by_tree(const at::Tensor& a_3n, const at::Tensor& b_3m) {
  Nearest nearest{std::vector<float>(static_cast<std::size_t>(a_3n.size(1))),
                  std::vector<float>(static_cast<std::size_t>(b_3m.size(1)))};
  ask_tree(a_3n, b_3m, [&](std::size_t i, std::uint32_t, float squared) { nearest.to_b[i] = squared; });
  ask_tree(b_3m, a_3n, [&](std::size_t i, std::uint32_t, float squared) { nearest.to_a[i] = squared; });
  return nearest;
}

Nearest nearest_squared(const at::Tensor& a_3n, const at::Tensor& b_3m) {
  return a_3n.size(1) * b_3m.size(1) > kMostPairs ? nearest_by_tree(a_3n, b_3m) : nearest_by_all_pairs(a_3n, b_3m);
}

std::vector<std::int64_t> nearest_index(const at::Tensor& points_3n, const at::Tensor& places_3m) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(points_3n.size(1)));
  ask_tree(points_3n, places_3m, [&](std::size_t i, std::uint32_t index, float) { indices[i] = index; });
  return indices;
}

}  // namespace thaw::points
