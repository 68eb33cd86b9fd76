#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/jvp.h"
#include "modalities/points/voxels.h"
#include "tests/catch.h"

using namespace thaw::points;

namespace {

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// Numbers in [-1, 1] that look like none in particular.
at::Tensor scattered(std::vector<std::int64_t> shape, double from) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return at::sin(at::arange(n, at::kDouble) * 12.9898 + from).mul(43758.5453).frac().reshape(shape);
}

}  // namespace

CATCH_TEST_CASE("voxels hold the mean of the points that lie nearest, empty ones nothing", "[points][voxels]") {
  // Two points in cell (1, 2, 3), one in (0, 0, 0).
  const at::Tensor places = at::tensor({1.2, 0.9, 0.0, 2.4, 1.6, 0.3, 2.9, 3.0, 0.1}, at::kDouble).reshape({1, 3, 3});
  const at::Tensor features = at::tensor({1.0, 3.0, 5.0, 10.0, 20.0, 30.0}, at::kDouble).reshape({1, 2, 3});
  const at::Tensor grid = averaged_voxels(features, places, 4);
  CATCH_REQUIRE(grid.sizes() == at::IntArrayRef{1, 2, 4, 4, 4});
  CATCH_CHECK(grid[0][0][1][2][3].item<double>() == 2.0);
  CATCH_CHECK(grid[0][1][1][2][3].item<double>() == 15.0);
  CATCH_CHECK(grid[0][0][0][0][0].item<double>() == 5.0);
  CATCH_CHECK(grid.abs().sum().item<double>() == 2.0 + 15.0 + 5.0 + 30.0);
}

CATCH_TEST_CASE("a grid that is linear in its places comes back exactly between its cells", "[points][voxels]") {
  const at::Tensor at_cell = at::arange(5, at::kDouble);
  const at::Tensor grid =
      (2.0 * at_cell.reshape({5, 1, 1}) - 0.5 * at_cell.reshape({1, 5, 1}) + 0.25 * at_cell.reshape({1, 1, 5}) + 7.0)
          .reshape({1, 1, 5, 5, 5});
  const at::Tensor places = scattered({1, 3, 40}, 0.3).abs() * 4.0;
  const at::Tensor wanted = 2.0 * places.select(1, 0) - 0.5 * places.select(1, 1) + 0.25 * places.select(1, 2) + 7.0;
  CATCH_CHECK(worst(devoxelised(grid, places).select(1, 0), wanted) < 1e-12);
  // At a cell's middle its own value.
  const at::Tensor noise = scattered({1, 2, 5, 5, 5}, 1.0);
  const at::Tensor middle = at::tensor({3.0, 1.0, 4.0}, at::kDouble).reshape({1, 3, 1});
  CATCH_CHECK(worst(devoxelised(noise, middle).squeeze(2), noise.select(2, 3).select(2, 1).select(2, 4)) < 1e-12);
}

CATCH_TEST_CASE("places in a grid do not change with where a cloud lies and how large it is", "[points][voxels]") {
  const at::Tensor cloud = scattered({2, 3, 30}, 2.0);
  const at::Tensor places = voxel_places(cloud, 16);
  CATCH_CHECK(worst(voxel_places(cloud * 7.0 + 100.0, 16), places) < 1e-9);
  CATCH_CHECK(places.min().item<double>() >= 0.0);
  CATCH_CHECK(places.max().item<double>() <= 15.0);
  // The farthest point of each cloud is half a side from the middle.
  const at::Tensor away = (places - 8.0).square().sum(1).sqrt();
  CATCH_CHECK(away.amax(1).max().item<double>() <= 8.0 + 1e-9);
  CATCH_CHECK(away.amax(1).min().item<double>() > 7.0);
  const at::Tensor same = at::full({1, 3, 5}, 0.25, at::kDouble);
  CATCH_CHECK(worst(voxel_places(same, 16), at::full_like(same, 8.0)) < 1e-9);
}

CATCH_TEST_CASE("what leaves voxels has the derivative that differences give", "[points][voxels]") {
  const at::Tensor places = scattered({1, 3, 6}, 4.0).abs() * 3.0;
  const auto value = [&](const at::Tensor& features) {
    return (devoxelised(averaged_voxels(features, places, 4).square(), places) * 0.5).sum();
  };
  const at::Tensor features = scattered({1, 2, 6}, 5.0).requires_grad_();
  const at::Tensor slope = torch::autograd::grad({value(features)}, {features})[0];
  constexpr double kStep = 1e-6;
  for (const std::int64_t k : {0, 3, 5}) {
    at::Tensor up = features.detach().clone(), down = up.clone();
    up[0][1][k] += kStep;
    down[0][1][k] -= kStep;
    const double difference = (value(up) - value(down)).item<double>() / (2 * kStep);
    CATCH_CHECK(slope[0][1][k].item<double>() == Catch::Approx(difference).margin(1e-6));
  }
}

CATCH_TEST_CASE("what leaves voxels moves with grid and places in forward mode too", "[points][voxels]") {
  const c10::NoGradGuard no_grad;
  const at::Tensor grid = scattered({2, 3, 4, 4, 4}, 6.0), places = scattered({2, 3, 9}, 7.0).abs() * 3.0;
  const at::Tensor grid_way = scattered(grid.sizes().vec(), 8.0), places_way = scattered(places.sizes().vec(), 9.0);
  const auto [value, tangent] = thaw::derivative_along([](const auto& all) { return devoxelised(all[0], all[1]); },
                                                       {grid, places}, {grid_way, places_way});
  CATCH_CHECK(worst(value, devoxelised(grid, places)) < 1e-12);
  constexpr double kStep = 1e-6;
  const at::Tensor up = devoxelised(grid + kStep * grid_way, places + kStep * places_way);
  const at::Tensor down = devoxelised(grid - kStep * grid_way, places - kStep * places_way);
  CATCH_CHECK(worst(tangent, (up - down) / (2 * kStep)) < 1e-7);
}

CATCH_TEST_CASE("a grid of a half type does not blur where points lie in it", "[points][voxels]") {
  // 0 and 1 by turns along the first axis; bfloat16 has 10.0 and 10.0625 and nothing between.
  const at::Tensor grid =
      at::arange(16).remainder(2).to(at::kBFloat16).reshape({1, 1, 16, 1, 1}).expand({1, 1, 16, 16, 16});
  const at::Tensor places = at::tensor({10.03F, 2.0F, 7.0F}).reshape({1, 3, 1});
  const at::Tensor value = devoxelised(grid.contiguous(), places);
  CATCH_CHECK(value.scalar_type() == at::kBFloat16);
  CATCH_CHECK(value.item<double>() == Catch::Approx(0.03).epsilon(0.01));
}
