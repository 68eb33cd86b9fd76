// Clouds as seen from one side.

#include "modalities/points/views.h"

#include <ATen/ATen.h>

#include "tests/points/points.h"

using namespace thaw;
using thaw::testing::cloud_data;
using thaw::testing::random_clouds;

namespace {

NoiseKey key(std::uint64_t sample) {
  return {3, Purpose::kAugment, sample, 0, 8};
}

// Points on the unit sphere.
at::Tensor ball() {
  const at::Tensor x = random_clouds({3, 600}, 4);
  return x / x.square().sum(0, true).sqrt();
}

}  // namespace

CATCH_TEST_CASE("of a ball the near half is seen, from sides all around", "[points][views]") {
  const at::Tensor cloud = ball();
  at::Tensor sides = at::zeros({3});
  for (std::uint64_t sample = 0; sample < 60; ++sample) {
    const at::Tensor seen = points::seen_first(cloud, key(sample)).narrow(1, 0, 240);
    const at::Tensor side = seen.mean(1) / seen.mean(1).norm();
    sides += side;
    // Half of 600 are on the near side; towards the rim cells hold few points, of which none may stand before another.
    CATCH_CHECK(at::mv(seen.t(), side).min().item<double>() > -0.3);
    CATCH_CHECK(at::mv(seen.t(), side).lt(0).to(at::kFloat).mean().item<double>() < 0.1);
  }
  // Of 60 directions the mean is about 0: its expected square is 1 / 60.
  CATCH_CHECK((sides / 60).norm().item<double>() < 0.35);
}

CATCH_TEST_CASE("a view is an order of the points, a function of its key", "[points][views]") {
  const at::Tensor cloud = random_clouds({6, 100}, 2);
  const at::Tensor view = points::seen_first(cloud, key(1));
  CATCH_CHECK(at::equal(view, points::seen_first(cloud, key(1))));
  CATCH_CHECK_FALSE(at::equal(view, points::seen_first(cloud, key(2))));
  CATCH_CHECK(at::equal(std::get<0>(view[3].sort()), std::get<0>(cloud[3].sort())));
  // Points in one place, or one point, are as good as any other cloud.
  CATCH_CHECK(at::equal(points::seen_first(at::ones({3, 5}), key(1)), at::ones({3, 5})));
  CATCH_CHECK(points::seen_first(at::ones({3, 1}), key(1)).sizes() == at::IntArrayRef({3, 1}));
}

CATCH_TEST_CASE("a wall hides what stands behind it, from wherever both are seen in line", "[points][views]") {
  // Two dense squares one behind the other. Looking along z the far one is hidden; along x or y both are seen edge on.
  const at::Tensor steps = at::linspace(-1, 1, 24);
  const at::Tensor x = steps.repeat({24}), y = steps.repeat_interleave(24), z = at::full({576}, 0.2);
  const at::Tensor walls = at::cat({at::stack({x, y, -z}), at::stack({x, y, z})}, 1);
  double least = 1;
  for (std::uint64_t sample = 0; sample < 40; ++sample) {
    const at::Tensor seen = points::seen_first(walls, key(sample)).narrow(1, 0, 576);
    const double front = seen[2].gt(0).to(at::kDouble).mean().item<double>();
    least = std::min(least, std::min(front, 1 - front));
  }
  CATCH_CHECK(least < 0.02);
}

CATCH_TEST_CASE("a dataset gives another view of a shape in every epoch", "[points][views]") {
  const auto random = cloud_data("{type: parametric_shapes, size: 4, points: 200}");
  const auto view = cloud_data("{type: parametric_shapes, size: 4, points: 200, order: view}");
  const at::Tensor a = view->get_in_epoch(1, 0).data, plain = random->get_in_epoch(1, 0).data;
  CATCH_CHECK_FALSE(at::equal(a, plain));
  CATCH_CHECK(at::equal(std::get<0>(a[0].sort()), std::get<0>(plain[0].sort())));
  CATCH_CHECK_FALSE(at::equal(a, view->get_in_epoch(1, 1).data));
  CATCH_CHECK(at::equal(a, view->get_in_epoch(1, 0).data));
}
