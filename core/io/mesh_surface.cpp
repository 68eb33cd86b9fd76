#include "core/io/mesh_surface.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

constexpr std::int64_t kCandidates = 4;  // of which those that lie apart are chosen

struct Vector {
  double x = 0, y = 0, z = 0;
};

Vector at(const std::vector<float>& values, std::size_t i) {
  return {values[3 * i], values[3 * i + 1], values[3 * i + 2]};
}
Vector operator-(const Vector& a, const Vector& b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
Vector cross(const Vector& a, const Vector& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
double length(const Vector& a) {
  return std::sqrt(a.x * a.x + a.y * a.y + a.z * a.z);
}

Vector cross_of(const Mesh& mesh, std::size_t t) {
  const std::uint32_t* corner = mesh.triangles.data() + 3 * t;
  const Vector a = at(mesh.vertices, corner[0]);
  return cross(at(mesh.vertices, corner[1]) - a, at(mesh.vertices, corner[2]) - a);
}

void append_unit(std::vector<float>& to, const Vector& v) {
  const double size = length(v);
  for (const double part : {v.x, v.y, v.z}) to.push_back(static_cast<float>(size > 0 ? part / size : 0.0));
}

Vector mixed(const std::vector<float>& values, const std::uint32_t* corner, const double* weight) {
  Vector sum;
  for (std::size_t c = 0; c < 3; ++c) {
    const Vector one = at(values, corner[c]);
    sum = {sum.x + weight[c] * one.x, sum.y + weight[c] * one.y, sum.z + weight[c] * one.z};
  }
  return sum;
}

void append(std::vector<float>& to, const Vector& v) {
  for (const double part : {v.x, v.y, v.z}) to.push_back(static_cast<float>(part));
}

Mesh on_triangles(const Mesh& mesh, std::int64_t count, const NoiseKey& key, const std::string& where) {
  const std::vector<double> areas = summed_areas(mesh);
  if (!(areas.back() > 0.0) || !std::isfinite(areas.back()))
    throw DataError(concat(where, ": its ", mesh.num_triangles(), " triangles have ",
                           std::isfinite(areas.back()) ? "no area" : "an area beyond any number"));
  Mesh cloud;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto draw = 3 * static_cast<std::uint64_t>(i);
    const auto found = std::ranges::upper_bound(areas, uniform(key, draw) * areas.back());
    const auto t = static_cast<std::size_t>(std::min(found, areas.end() - 1) - areas.begin());
    // Osada et al. 2002, eq. 1: the square root makes the density even.
    const double r = std::sqrt(uniform(key, draw + 1)), s = uniform(key, draw + 2);
    const double weight[3] = {1 - r, r * (1 - s), r * s};
    const std::uint32_t* corner = mesh.triangles.data() + 3 * t;
    append(cloud.vertices, mixed(mesh.vertices, corner, weight));
    append_unit(cloud.normals, mesh.normals.empty() ? cross_of(mesh, t) : mixed(mesh.normals, corner, weight));
    if (!mesh.colors.empty()) append(cloud.colors, mixed(mesh.colors, corner, weight));
  }
  return cloud;
}

Mesh picked(const Mesh& mesh, const std::vector<std::int64_t>& which) {
  Mesh cloud;
  for (const std::int64_t i : which) {
    const auto vertex = static_cast<std::size_t>(i);
    append(cloud.vertices, at(mesh.vertices, vertex));
    if (!mesh.normals.empty()) append(cloud.normals, at(mesh.normals, vertex));
    if (!mesh.colors.empty()) append(cloud.colors, at(mesh.colors, vertex));
  }
  return cloud;
}

// Fisher and Yates' shuffle, begun anew when all were taken.
Mesh of_vertices(const Mesh& mesh, std::int64_t count, const NoiseKey& key) {
  const auto size = static_cast<std::int64_t>(mesh.num_vertices());
  std::vector<std::int64_t> order(mesh.num_vertices()), which;
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t place = i % size;
    const auto other = place + static_cast<std::int64_t>(uniform_integer(key, static_cast<std::uint64_t>(i),
                                                                         static_cast<std::uint64_t>(size - place)));
    std::swap(order[static_cast<std::size_t>(place)], order[static_cast<std::size_t>(other)]);
    which.push_back(order[static_cast<std::size_t>(place)]);
  }
  return picked(mesh, which);
}

}  // namespace

SurfaceSampling surface_sampling_from(const std::string& name) {
  if (name == "uniform") return SurfaceSampling::kUniform;
  if (name == "farthest") return SurfaceSampling::kFarthest;
  if (name == "poisson") return SurfaceSampling::kPoisson;
  throw Error(ExitCode::kBug, concat("sampling of surfaces \"", name, "\""));
}

std::vector<double> summed_areas(const Mesh& mesh) {
  std::vector<double> sums;
  sums.reserve(mesh.num_triangles());
  double sum = 0.0;
  for (std::size_t t = 0; t < mesh.num_triangles(); ++t) sums.push_back(sum += length(cross_of(mesh, t)));
  return sums;
}

void expect_extent(const Mesh& mesh, const std::string& where) {
  for (std::size_t i = 3; i < mesh.vertices.size(); ++i)
    if (mesh.vertices[i] != mesh.vertices[i - 3]) return;
  throw DataError(concat(where, ": all its ", mesh.num_vertices(), " vertices are one point"));
}

std::vector<std::int64_t> farthest_points(const std::vector<float>& points, std::int64_t count) {
  const std::size_t size = points.size() / 3;
  std::vector<float> nearest(size, std::numeric_limits<float>::infinity());
  std::vector<std::int64_t> chosen;
  std::size_t last = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    chosen.push_back(static_cast<std::int64_t>(last));
    std::size_t farthest = 0;
    for (std::size_t j = 0; j < size; ++j) {
      float squared = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        const float d = points[3 * j + c] - points[3 * last + c];
        squared += d * d;
      }
      nearest[j] = std::min(nearest[j], squared);
      if (nearest[j] > nearest[farthest]) farthest = j;
    }
    last = farthest;
  }
  return chosen;
}

namespace {

// Points that were taken, in cells as wide as the radius.
class TakenPoints {
 public:
  TakenPoints(const std::vector<float>& points, double radius) : points_(points), radius_(radius) {}

  bool take(std::size_t point) {
    std::array<std::int64_t, 3> cell{};
    for (std::size_t c = 0; c < 3; ++c)
      cell[c] = static_cast<std::int64_t>(std::floor(static_cast<double>(points_[3 * point + c]) / radius_));
    for (std::int64_t x = -1; x <= 1; ++x)
      for (std::int64_t y = -1; y <= 1; ++y)
        for (std::int64_t z = -1; z <= 1; ++z)
          if (is_near(point, cells_.find(name_of({cell[0] + x, cell[1] + y, cell[2] + z})))) return false;
    cells_[name_of(cell)].push_back(point);
    return true;
  }

 private:
  using Cells = std::unordered_map<std::uint64_t, std::vector<std::size_t>>;

  // Cells that share a name are searched together: that costs time alone.
  static std::uint64_t name_of(const std::array<std::int64_t, 3>& cell) {
    std::uint64_t name = 0;
    for (const std::int64_t side : cell) name = (name ^ static_cast<std::uint64_t>(side)) * 0x9E3779B97F4A7C15ULL;
    return name;
  }
  bool is_near(std::size_t point, Cells::const_iterator cell) const {
    if (cell == cells_.end()) return false;
    return std::ranges::any_of(cell->second, [&](std::size_t other) {
      double squared = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        const double d = static_cast<double>(points_[3 * point + c]) - static_cast<double>(points_[3 * other + c]);
        squared += d * d;
      }
      return squared < radius_ * radius_;
    });
  }

  const std::vector<float>& points_;
  double radius_;
  Cells cells_;
};

std::vector<std::int64_t> apart(const std::vector<float>& points, double radius, std::int64_t most) {
  TakenPoints taken(points, radius);
  std::vector<std::int64_t> chosen;
  for (std::size_t i = 0; i < points.size() / 3 && static_cast<std::int64_t>(chosen.size()) < most; ++i)
    if (taken.take(i)) chosen.push_back(static_cast<std::int64_t>(i));
  return chosen;
}

// The longest side of their bounding box.
double extent_of(const std::vector<float>& points) {
  double extent = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    float low = points[c], high = points[c];
    for (std::size_t i = c; i < points.size(); i += 3) {
      low = std::min(low, points[i]);
      high = std::max(high, points[i]);
    }
    extent = std::max(extent, static_cast<double>(high) - static_cast<double>(low));
  }
  return extent;
}

}  // namespace

std::vector<std::int64_t> disk_points(const std::vector<float>& points, std::int64_t count) {
  const double extent = extent_of(points);
  // From so near that float32 coordinates could hardly differ by less, to a box's diagonal.
  double low = 1e-6 * extent, high = 2.0 * extent;
  std::vector<std::int64_t> chosen;
  if (extent > 0) chosen = apart(points, low, count);
  while (static_cast<std::int64_t>(chosen.size()) == count && high > 1.001 * low) {
    const double radius = std::sqrt(low * high);
    std::vector<std::int64_t> found = apart(points, radius, count);
    const bool is_enough = static_cast<std::int64_t>(found.size()) == count;
    (is_enough ? low : high) = radius;
    if (is_enough) chosen = std::move(found);
  }
  for (std::int64_t i = 0; static_cast<std::int64_t>(chosen.size()) < count; ++i) chosen.push_back(i);
  return chosen;
}

Mesh sample_surface(const Mesh& mesh, std::int64_t count, const NoiseKey& key, SurfaceSampling how,
                    const std::string& where) {
  expect_extent(mesh, where);
  if (how == SurfaceSampling::kUniform)
    return mesh.triangles.empty() ? of_vertices(mesh, count, key) : on_triangles(mesh, count, key, where);
  const auto size = static_cast<std::int64_t>(mesh.num_vertices());
  const std::int64_t most =
      mesh.triangles.empty() ? std::max(count, std::min(kCandidates * count, size)) : kCandidates * count;
  const Mesh candidates = sample_surface(mesh, most, key, SurfaceSampling::kUniform, where);
  return picked(candidates, how == SurfaceSampling::kPoisson ? disk_points(candidates.vertices, count)
                                                             : farthest_points(candidates.vertices, count));
}

}  // namespace thaw
