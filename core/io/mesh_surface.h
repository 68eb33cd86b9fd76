#pragma once
// Points on the surface of a mesh, uniform by area.

#include <cstdint>
#include <string>

#include "core/io/mesh.h"
#include "core/math/philox.h"

namespace thaw {

enum class SurfaceSampling {
  kUniform,   // independent points
  kFarthest,  // of four times as many the ones that lie apart: each the farthest from those before it
  kPoisson,   // of four times as many ones of which no two are nearer than a radius, about the largest there is
};

/// "uniform", "farthest", "poisson".
SurfaceSampling surface_sampling_from(const std::string& name);

/// `count` points of the surface as a Mesh without triangles: a pure function of (mesh, count, key, how). Normals and
/// colours are interpolated where the vertices have them; normals else are those of the triangles. A mesh without
/// triangles gives a random subset of its vertices, each once while there are enough of them.
/// Throws DataError "where: ..." where the triangles have no area, or all vertices are one point.
Mesh sample_surface(const Mesh& mesh, std::int64_t count, const NoiseKey& key, SurfaceSampling how,
                    const std::string& where);

/// Of points [K, 3] the indices of `count` that lie apart, from point 0 on: each is the farthest from all before it
/// (Eldar et al. 1997). count <= K.
std::vector<std::int64_t> farthest_points(const std::vector<float>& points, std::int64_t count);

/// Of points [K, 3] the indices of `count` that keep a distance from each other, in their order: a point is taken where
/// none before it lies within a radius (dart throwing, Cook 1986), which is the largest, to one part in a thousand,
/// that leaves `count` of them. count <= K; of points that coincide so that fewer remain apart, some are taken again.
std::vector<std::int64_t> disk_points(const std::vector<float>& points, std::int64_t count);

/// Twice the area of each triangle summed up: entry t is that of triangles 0 to t.
std::vector<double> summed_areas(const Mesh& mesh);

/// Throws DataError where all vertices are one point.
void expect_extent(const Mesh& mesh, const std::string& where);

}  // namespace thaw
