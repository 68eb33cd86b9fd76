#include "core/io/mesh_surface.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

constexpr std::int64_t kCandidates = 4;  // of which farthest points are chosen

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

Mesh sample_surface(const Mesh& mesh, std::int64_t count, const NoiseKey& key, SurfaceSampling how,
                    const std::string& where) {
  expect_extent(mesh, where);
  if (how == SurfaceSampling::kUniform)
    return mesh.triangles.empty() ? of_vertices(mesh, count, key) : on_triangles(mesh, count, key, where);
  const auto size = static_cast<std::int64_t>(mesh.num_vertices());
  const std::int64_t most =
      mesh.triangles.empty() ? std::max(count, std::min(kCandidates * count, size)) : kCandidates * count;
  const Mesh candidates = sample_surface(mesh, most, key, SurfaceSampling::kUniform, where);
  return picked(candidates, farthest_points(candidates.vertices, count));
}

}  // namespace thaw
