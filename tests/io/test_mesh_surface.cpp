#include "core/io/mesh_surface.h"

#include <cmath>

#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;

namespace {

const NoiseKey kKey{7, Purpose::kAugment, 1, 0, 0};

// Two triangles in the plane z = 0: one of area 1/2 left of x = 0, one of area 3/2 right of it.
const Mesh kTwo{.vertices = {-1, 0, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0}, .triangles = {0, 1, 2, 1, 3, 2}};

Mesh sampled(const Mesh& mesh, std::int64_t count, SurfaceSampling how = SurfaceSampling::kUniform) {
  return sample_surface(mesh, count, kKey, how, "t.obj");
}

double nearest_gap(const Mesh& cloud) {
  double least = 1e9;
  for (std::size_t i = 0; i < cloud.num_vertices(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      double squared = 0;
      for (std::size_t c = 0; c < 3; ++c) squared += std::pow(cloud.vertices[3 * i + c] - cloud.vertices[3 * j + c], 2);
      least = std::min(least, std::sqrt(squared));
    }
  return least;
}

}  // namespace

CATCH_TEST_CASE("points lie on triangles in proportion to their areas and evenly within", "[io][mesh]") {
  const std::int64_t n = 20000;
  const Mesh cloud = sampled(kTwo, n);
  double right = 0, x = 0, y = 0;
  for (std::size_t i = 0; i < cloud.num_vertices(); ++i) {
    const float* p = cloud.vertices.data() + 3 * i;
    CATCH_REQUIRE((p[1] >= 0 && p[2] == 0));
    CATCH_REQUIRE((p[0] <= 0 ? p[1] <= p[0] + 1 + 1e-6F : p[0] + 3 * p[1] <= 3 + 1e-5F));
    if (p[0] <= 0) continue;
    right += 1;
    x += p[0];
    y += p[1];
  }
  // A share of 3/4 of 20000: five standard errors are 0.0153; means of coordinates of a triangle, whose deviations are
  // 3 / sqrt(18) and 1 / sqrt(18): 0.029 and 0.0097.
  CATCH_CHECK(right / static_cast<double>(n) == Catch::Approx(0.75).margin(0.0153));
  CATCH_CHECK(x / right == Catch::Approx(1.0).margin(0.029));
  CATCH_CHECK(y / right == Catch::Approx(1.0 / 3).margin(0.0097));
}

CATCH_TEST_CASE("sampling is a function of its key, and normals are those of the triangles", "[io][mesh]") {
  CATCH_CHECK(sampled(kTwo, 50).vertices == sampled(kTwo, 50).vertices);
  CATCH_CHECK(sample_surface(kTwo, 50, {8, Purpose::kAugment, 1, 0, 0}, SurfaceSampling::kUniform, "t").vertices !=
              sampled(kTwo, 50).vertices);
  const Mesh cloud = sampled(kTwo, 5);
  for (std::size_t i = 0; i < 5; ++i) CATCH_CHECK(cloud.normals[3 * i + 2] == 1.0F);
  Mesh colored = kTwo;
  colored.colors = {0.25, 0.5, 1, 0.25, 0.5, 1, 0.25, 0.5, 1, 0.25, 0.5, 1};
  CATCH_CHECK(sampled(colored, 1).colors[1] == Catch::Approx(0.5));
}

CATCH_TEST_CASE("farthest points lie further apart than independent ones", "[io][mesh]") {
  const Mesh far = sampled(kTwo, 64, SurfaceSampling::kFarthest);
  CATCH_CHECK(far.num_vertices() == 64);
  CATCH_CHECK(nearest_gap(far) > 4 * nearest_gap(sampled(kTwo, 64)));
  // On a line the rule is plain: the other end, the middle, then the quarters.
  CATCH_CHECK(farthest_points({0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0}, 5) ==
              std::vector<std::int64_t>{0, 4, 2, 1, 3});
}

CATCH_TEST_CASE("points of disks keep a distance that is about the largest there is", "[io][mesh]") {
  const Mesh apart = sampled(kTwo, 100, SurfaceSampling::kPoisson);
  CATCH_CHECK(apart.num_vertices() == 100);
  // Area 2: a hexagonal grid of 100 points has a spacing of sqrt(2 * 2 / (sqrt(3) * 100)); random packings that leave
  // no room for another point come to some 0.7 of it, and 400 candidates to somewhat less. Independent points: to 0.01.
  const double grid = std::sqrt(4 / (std::sqrt(3.0) * 100));
  CATCH_CHECK(nearest_gap(apart) > 0.6 * grid);
  CATCH_CHECK(nearest_gap(apart) < grid);
  CATCH_CHECK(nearest_gap(sampled(kTwo, 100)) < 0.1 * grid);
  CATCH_CHECK(disk_points({0, 0, 0, 0.1F, 0, 0, 1, 0, 0, 1.1F, 0, 0}, 2) == std::vector<std::int64_t>{0, 3});
  CATCH_CHECK(disk_points({0, 0, 0, 0, 0, 0, 1, 0, 0}, 3) == std::vector<std::int64_t>{0, 2, 0});
}

CATCH_TEST_CASE("a cloud gives each of its points once while there are enough", "[io][mesh]") {
  Mesh cloud;
  for (int i = 0; i < 30; ++i) cloud.vertices.insert(cloud.vertices.end(), {static_cast<float>(i), 0, 0});
  const auto firsts = [&](std::int64_t count) {
    std::vector<float> x;
    const Mesh some = sampled(cloud, count);
    for (std::size_t i = 0; i < some.num_vertices(); ++i) x.push_back(some.vertices[3 * i]);
    return x;
  };
  std::vector<float> all = firsts(30);
  CATCH_CHECK_FALSE(std::is_sorted(all.begin(), all.end()));
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i < 30; ++i) CATCH_CHECK(all[i] == static_cast<float>(i));
  std::vector<float> twice = firsts(60);
  std::sort(twice.begin(), twice.end());
  for (std::size_t i = 0; i < 60; ++i) CATCH_CHECK(twice[i] == static_cast<float>(i / 2));
}

CATCH_TEST_CASE("shapes without extent are refused", "[io][mesh]") {
  const auto refusal = [](const Mesh& mesh) { return message_of<DataError>([&] { sampled(mesh, 4); }); };
  CATCH_CHECK(refusal({.vertices = {1, 2, 3, 1, 2, 3}}) == "t.obj: all its 2 vertices are one point");
  CATCH_CHECK(refusal({.vertices = {0, 0, 0, 1, 1, 1, 2, 2, 2}, .triangles = {0, 1, 2, 0, 0, 1}}) ==
              "t.obj: its 2 triangles have no area");
}
