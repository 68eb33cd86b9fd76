// Which points are chosen, against the same choice written out one distance at a time.

#include "modalities/points/neighbourhoods.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/points/points.h"

using namespace thaw;
using namespace thaw::points;
using thaw::testing::gap;
using thaw::testing::random_clouds;

namespace {

// Squared distance of point i of a [3, n] to point j of b [3, m].
double squared(const at::Tensor& a, std::int64_t i, const at::Tensor& b, std::int64_t j) {
  const auto from = a.accessor<double, 2>(), to = b.accessor<double, 2>();
  double sum = 0.0;
  for (std::int64_t axis = 0; axis < 3; ++axis) sum += (from[axis][i] - to[axis][j]) * (from[axis][i] - to[axis][j]);
  return sum;
}

std::vector<std::int64_t> listed(const at::Tensor& index) {
  const at::Tensor flat = index.contiguous();
  return {flat.data_ptr<std::int64_t>(), flat.data_ptr<std::int64_t>() + flat.numel()};
}

std::vector<std::int64_t> sampled_slowly(const at::Tensor& points_3K, std::size_t count, Choice choice) {
  const std::int64_t k = points_3K.size(1);
  const at::Tensor mean_31 = points_3K.mean({1}, true);
  std::vector<std::int64_t> chosen;
  while (chosen.size() < count) {
    std::int64_t best = 0;
    double farthest = -1.0;
    for (std::int64_t i = 0; i < k; ++i) {
      double away = chosen.empty() ? (choice == Choice::kByPlace ? squared(points_3K, i, mean_31, 0) : 0.0)
                                   : std::numeric_limits<double>::infinity();
      for (const std::int64_t one : chosen) away = std::min(away, squared(points_3K, i, points_3K, one));
      if (away > farthest) best = i;
      farthest = std::max(farthest, away);
    }
    chosen.push_back(best);
  }
  return chosen;
}

std::vector<std::int64_t> neighbours_slowly(const at::Tensor& centre_31, const at::Tensor& points_3K, double radius,
                                            std::size_t count, Choice choice) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(points_3K.size(1)));
  std::iota(order.begin(), order.end(), 0);
  const auto away = [&](std::int64_t i) { return squared(centre_31, 0, points_3K, i); };
  if (choice == Choice::kByPlace)
    std::ranges::stable_sort(order, [&](std::int64_t a, std::int64_t b) { return away(a) < away(b); });
  const std::int64_t lonely = choice == Choice::kByPlace ? order.front() : 0;
  std::erase_if(order, [&](std::int64_t i) { return away(i) >= radius * radius; });
  const std::int64_t first = order.empty() ? lonely : order.front();
  order.resize(count, first);
  return order;
}

const at::Tensor clouds = random_clouds({3, 3, 40}, 4).to(at::kDouble);

}  // namespace

CATCH_TEST_CASE("each sampled point is the farthest from those before it", "[points][neighbourhoods]") {
  for (const Choice choice : {Choice::kByPlace, Choice::kByOrder})
    for (const std::int64_t count : {1, 2, 17, 40}) {
      const at::Tensor index_NM = farthest_points(clouds, count, choice);
      CATCH_REQUIRE(index_NM.sizes() == at::IntArrayRef({3, count}));
      for (std::int64_t n = 0; n < 3; ++n) {
        CATCH_CAPTURE(count, n);
        CATCH_CHECK(listed(index_NM[n]) == sampled_slowly(clouds[n], static_cast<std::size_t>(count), choice));
      }
      CATCH_CHECK(at::equal(farthest_points(clouds.to(at::kFloat), count, choice), index_NM));
    }
}

CATCH_TEST_CASE("a cloud of two places gives both and then one again", "[points][neighbourhoods]") {
  const at::Tensor cloud = at::tensor({1.0, 1.0, 5.0, 1.0, 5.0}).expand({1, 3, 5});
  const at::Tensor points = taken_at(cloud, farthest_points(cloud, 4, Choice::kByOrder)).select(1, 0);
  CATCH_CHECK(at::equal(points, at::tensor({1.0, 5.0, 1.0, 1.0}).unsqueeze(0)));
}

CATCH_TEST_CASE("a ball holds the nearest points, or the first ones, and is filled up with its first",
                "[points][neighbourhoods]") {
  const at::Tensor centres = at::cat({clouds.narrow(2, 5, 9), at::full({3, 3, 1}, 50.0, at::kDouble)}, 2);
  for (const Choice choice : {Choice::kByPlace, Choice::kByOrder})
    for (const double radius : {0.3, 1.0, 100.0})
      for (const std::int64_t count : {1, 6, 45}) {
        const at::Tensor index_NMU = ball_neighbours(centres, clouds, radius, count, choice);
        CATCH_REQUIRE(index_NMU.sizes() == at::IntArrayRef({3, 10, count}));
        for (std::int64_t n = 0; n < 3; ++n)
          for (std::int64_t m = 0; m < 10; ++m) {
            CATCH_CAPTURE(radius, count, n, m);
            const auto wanted = neighbours_slowly(centres[n].narrow(1, m, 1), clouds[n], radius,
                                                  static_cast<std::size_t>(count), choice);
            CATCH_CHECK(listed(index_NMU[n][m]) == wanted);
          }
      }
}

CATCH_TEST_CASE("a point gets the mean of its three nearest centres by one over the squared distance",
                "[points][neighbourhoods]") {
  // The first points are centres themselves; with one and two centres there are no three.
  const at::Tensor features = random_clouds({3, 4, 40}, 5).to(at::kDouble);
  for (const std::int64_t centres : {1, 2, 3, 12}) {
    const at::Tensor places = clouds.narrow(2, 0, centres), values = features.narrow(2, 0, centres);
    const at::Tensor brought = interpolated(clouds, places, values);
    for (std::int64_t n = 0; n < 3; ++n)
      for (std::int64_t k = 0; k < 40; ++k) {
        auto order = neighbours_slowly(clouds[n].narrow(1, k, 1), places[n], 1e9, static_cast<std::size_t>(centres),
                                       Choice::kByPlace);
        order.resize(static_cast<std::size_t>(std::min<std::int64_t>(3, centres)));
        at::Tensor sum = at::zeros({4}, at::kDouble);
        double total = 0.0;
        for (const std::int64_t m : order) {
          const double weight = 1.0 / std::max(1e-10, squared(clouds[n], k, places[n], m));
          sum += weight * values[n].select(1, m);
          total += weight;
        }
        CATCH_CAPTURE(centres, n, k);
        CATCH_CHECK(gap(brought[n].select(1, k), sum / total) < 1e-12);
      }
    CATCH_CHECK(gap(brought.narrow(2, 0, centres), values) < 1e-8);
  }
}

CATCH_TEST_CASE("choices by place move with the points, choices by order do not", "[points][neighbourhoods]") {
  const at::Tensor order = at::arange(40).mul(7).remainder(40), moved = clouds.index_select(2, order);
  const auto near = [](const at::Tensor& points, Choice choice) {
    const at::Tensor centres = taken_at(points, farthest_points(points, 9, choice));
    return taken_at(points, ball_neighbours(centres, points, 1.5, 4, choice));
  };
  CATCH_CHECK(at::equal(near(clouds, Choice::kByPlace), near(moved, Choice::kByPlace)));
  const at::Tensor turned = clouds.flip(2);
  CATCH_CHECK(at::equal(near(clouds, Choice::kByPlace), near(turned, Choice::kByPlace)));
  CATCH_CHECK_FALSE(at::equal(near(clouds, Choice::kByOrder), near(turned, Choice::kByOrder)));
}

CATCH_TEST_CASE("distances that do not fit at once give what parts of them give", "[points][neighbourhoods]") {
  const at::Tensor points = random_clouds({1, 3, 2400}, 6), centres = random_clouds({1, 3, 2000}, 7);
  const at::Tensor features = random_clouds({1, 1, 2000}, 8), whole = interpolated(points, centres, features);
  const at::Tensor first = interpolated(points.narrow(2, 0, 1000), centres, features);
  const at::Tensor last = interpolated(points.narrow(2, 1000, 1400), centres, features);
  CATCH_CHECK(gap(whole, at::cat({first, last}, 2)) < 1e-6);
}
