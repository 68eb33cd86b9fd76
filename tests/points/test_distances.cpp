#include "modalities/points/distances.h"

#include <cmath>
#include <numeric>

#include "core/io/json_guard.h"
#include "modalities/points/assignment.h"
#include "modalities/points/nearest.h"
#include "modalities/points/set_scores.h"
#include "tests/points/points.h"

using namespace thaw;
using namespace thaw::points;
using thaw::testing::random_clouds;

namespace {

const nlohmann::json& golden() {
  static const nlohmann::json numbers =
      parse_json_file(std::filesystem::path(THAW_SOURCE_DIR) / "tests/golden/points_metrics.json");
  return numbers;
}

// [N, 3, K] of the golden file's lists of points.
at::Tensor golden_clouds(const char* name) {
  std::vector<double> values;
  std::int64_t clouds = 0, points = 0;
  for (const auto& cloud : golden()[name]) {
    ++clouds;
    points = static_cast<std::int64_t>(cloud.size());
    for (const auto& point : cloud)
      for (const auto& x : point) values.push_back(x.get<double>());
  }
  return at::tensor(values, at::kDouble).reshape({clouds, points, 3}).transpose(1, 2).to(at::kFloat).contiguous();
}

std::vector<float> costs_of(std::int64_t n, std::uint64_t seed, int kind) {
  std::vector<float> cost(static_cast<std::size_t>(n * n));
  for (std::size_t i = 0; i < cost.size(); ++i) {
    const double u = uniform({seed, Purpose::kOther, 0, 0, 0}, i);
    cost[i] = static_cast<float>(kind == 0 ? u : kind == 1 ? std::floor(4 * u) : 0.5);  // also full of equal costs
  }
  return cost;
}

double cheapest_of_all(const std::vector<float>& cost, std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  double least = 1e30;
  do {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += cost[i * n + order[i]];
    least = std::min(least, sum);
  } while (std::next_permutation(order.begin(), order.end()));
  return least;
}

const Distance kAll[] = {Distance::kChamfer,         Distance::kChamferEuclidean, Distance::kEmdExact,
                         Distance::kEmdExactSquared, Distance::kEmdPvd,           Distance::kEmdPointflow};

}  // namespace

CATCH_TEST_CASE("an assignment is the cheapest of all permutations", "[points][metrics]") {
  Assignment assignment;
  for (std::int64_t n = 1; n <= 7; ++n)
    for (int kind = 0; kind < 3; ++kind)
      for (std::uint64_t seed = 0; seed < 6; ++seed) {
        CATCH_CAPTURE(n, kind, seed);
        const std::vector<float> cost = costs_of(n, seed, kind);
        assignment.solve(cost, n);
        std::vector<std::int32_t> columns = assignment.columns();
        std::sort(columns.begin(), columns.end());
        for (std::int32_t i = 0; i < n; ++i) CATCH_REQUIRE(columns[static_cast<std::size_t>(i)] == i);
        CATCH_CHECK(assignment.total() ==
                    Catch::Approx(cheapest_of_all(cost, static_cast<std::size_t>(n))).margin(1e-6));
      }
}

CATCH_TEST_CASE("large assignments meet the bound of their duals", "[points][metrics]") {
  Assignment assignment;
  for (const std::int64_t n : {50, 300})
    for (int kind = 0; kind < 3; ++kind) {
      CATCH_CAPTURE(n, kind);
      const std::vector<float> cost = costs_of(n, 9, kind);
      assignment.solve(cost, n);
      CATCH_CHECK(assignment.total() == Catch::Approx(assignment.lower_bound()).epsilon(1e-9));
    }
  // Of points in the plane, whose many near ties are what takes long.
  const at::Tensor a = random_clouds({3, 300}), b = random_clouds({3, 300}, 2);
  const at::Tensor cost = at::cdist(a.t(), b.t(), 2.0, 2).contiguous();
  assignment.solve({cost.data_ptr<float>(), static_cast<std::size_t>(cost.numel())}, 300);
  CATCH_CHECK(assignment.total() == Catch::Approx(assignment.lower_bound()).epsilon(1e-9));
}

CATCH_TEST_CASE("nearest points are those of all pairs, by vectors and by the tree", "[points][metrics]") {
  for (const auto& [n, m] : {std::pair(1, 1), {3, 9}, {8, 4}, {61, 130}, {257, 64}}) {
    CATCH_CAPTURE(n, m);
    const at::Tensor a = random_clouds({3, n}, 3), b = random_clouds({3, m}, 4);
    const at::Tensor squared = (a.unsqueeze(2) - b.unsqueeze(1)).square().sum(0);
    const Nearest vectors = nearest_by_all_pairs(a, b), tree = nearest_by_tree(a, b);
    for (const Nearest* nearest : {&vectors, &tree}) {
      CATCH_CHECK(testing::gap(at::tensor(nearest->to_b), std::get<0>(squared.min(1))) < 1e-5);
      CATCH_CHECK(testing::gap(at::tensor(nearest->to_a), std::get<0>(squared.min(0))) < 1e-5);
    }
  }
}

CATCH_TEST_CASE("every distance is that of scipy and of the matching written out in loops", "[points][metrics]") {
  const at::Tensor a = golden_clouds("samples")[0], b = golden_clouds("references")[0];
  for (const Distance distance : kAll) {
    CATCH_CAPTURE(name_of(distance));
    // Inputs of 9 digits and float32 distances; the matching exponentiates 4^7 times a squared distance.
    const bool is_matching = distance == Distance::kEmdPvd || distance == Distance::kEmdPointflow;
    CATCH_CHECK(distance_between(a, b, distance) ==
                Catch::Approx(golden()["pair"][name_of(distance)].get<double>()).epsilon(is_matching ? 1e-4 : 1e-6));
  }
  CATCH_CHECK(f_score(a, b, 0.01) == Catch::Approx(golden()["f_score"].get<double>()));
}

CATCH_TEST_CASE("the matching of clouds of any two sizes is that of its formulas in double", "[points][metrics]") {
  for (const auto& [n, m] : {std::pair(16, 16), {5, 13}, {24, 9}, {1, 1}}) {
    CATCH_CAPTURE(n, m);
    const at::Tensor a = random_clouds({3, n}, 3) * 0.3, b = random_clouds({3, m}, 4) * 0.3;
    const at::Tensor squared = (a.unsqueeze(2) - b.unsqueeze(1)).square().sum(0).to(at::kDouble);
    at::Tensor left = at::full({n}, n >= m ? 1.0 : static_cast<double>(m / n), at::kDouble);
    at::Tensor right = at::full({m}, n >= m ? static_cast<double>(n / m) : 1.0, at::kDouble);
    at::Tensor match = at::zeros({n, m}, at::kDouble);
    for (int j = 7; j >= -2; --j) {
      const at::Tensor w = (squared * (j == -2 ? 0.0 : -std::pow(4.0, j))).exp();
      const at::Tensor give = left / (w.mv(right) + 1e-9), wanted = w.t().mv(give) * right;
      const at::Tensor take = (right / (wanted + 1e-9)).clamp_max(1.0) * right;
      const at::Tensor moved = w * give.unsqueeze(1) * take.unsqueeze(0);
      match += moved;
      right = (right - wanted).clamp_min(0.0);
      left = (left - moved.sum(1)).clamp_min(0.0);
    }
    const auto expected = [&](const at::Tensor& cost) { return (match * cost).sum().item<double>() / n; };
    CATCH_CHECK(distance_between(a, b, Distance::kEmdPvd) == Catch::Approx(expected(squared)).epsilon(1e-4));
    CATCH_CHECK(distance_between(a, b, Distance::kEmdPointflow) ==
                Catch::Approx(expected(squared.sqrt())).epsilon(1e-4));
  }
}

CATCH_TEST_CASE("MMD, COV, 1-NNA and JSD are those of the published definitions", "[points][metrics]") {
  const at::Tensor samples = golden_clouds("samples"), references = golden_clouds("references");
  for (const Distance distance : kAll) {
    CATCH_CAPTURE(name_of(distance));
    const nlohmann::json& expected = golden()["sets"][name_of(distance)];
    const at::Tensor sr = distance_matrix(references, samples, distance).t();
    const Coverage coverage = coverage_of(sr);
    CATCH_CHECK(coverage.nearest_R.mean().item<double>() == Catch::Approx(expected["mmd"].get<double>()).epsilon(1e-4));
    CATCH_CHECK(coverage.is_covered_R.sum().item<double>() / 8 == Catch::Approx(expected["cov"].get<double>()));
    const std::int64_t own = own_neighbours(distance_matrix(references, references, distance), sr,
                                            distance_matrix(samples, samples, distance));
    CATCH_CHECK(static_cast<double>(own) / 16 == Catch::Approx(expected["nna"].get<double>()));
  }
  CATCH_CHECK(occupancy_divergence(samples, references) == Catch::Approx(golden()["jsd"].get<double>()));
}

CATCH_TEST_CASE("distances of a cloud from itself moved are known", "[points][metrics]") {
  const at::Tensor a = random_clouds({3, 40}) * 10;  // points far apart against the way moved
  const at::Tensor step = at::tensor({0.01F, 0.02F, -0.02F}).reshape({3, 1});
  const at::Tensor b = a + step;
  CATCH_CHECK(distance_between(a, b, Distance::kChamfer) == Catch::Approx(2 * 9e-4).epsilon(1e-3));
  CATCH_CHECK(distance_between(a, b, Distance::kChamferEuclidean) == Catch::Approx(2 * 0.03).epsilon(1e-3));
  CATCH_CHECK(distance_between(a, b, Distance::kEmdExact) == Catch::Approx(0.03).epsilon(1e-3));
  CATCH_CHECK(distance_between(a, b, Distance::kEmdExactSquared) == Catch::Approx(9e-4).epsilon(1e-3));
  // For a translation by any way the squared optimum is its squared length (Villani 2003, remark 7.1).
  const at::Tensor far = a + at::tensor({30.0F, 0.0F, 40.0F}).reshape({3, 1});
  CATCH_CHECK(distance_between(a, far, Distance::kEmdExactSquared) == Catch::Approx(2500.0).epsilon(1e-5));
  for (const Distance distance : kAll) CATCH_CHECK(distance_between(a, a, distance) < 1e-6);
}

CATCH_TEST_CASE("entropic transport is never below the exact one and approaches it", "[points][metrics]") {
  const at::Tensor a = random_clouds({3, 60}, 5), b = random_clouds({3, 60}, 6);
  const double exact = distance_between(a, b, Distance::kEmdExact);
  double before = 1e9;
  for (const double epsilon : {0.5, 0.1, 0.02}) {
    CATCH_CAPTURE(epsilon);
    const double value = sinkhorn_distance(a, b, {.epsilon = epsilon, .iterations = 300});
    CATCH_CHECK(value >= exact * (1 - 1e-6));
    CATCH_CHECK(value < before);
    before = value;
  }
  CATCH_CHECK(before < 1.03 * exact);
}

CATCH_TEST_CASE("scores of sets have their known values at the ends", "[points][metrics]") {
  const at::Tensor clouds = random_clouds({12, 3, 30});
  const auto scores = [](const at::Tensor& samples, const at::Tensor& references) {
    const at::Tensor sr = distance_matrix(samples, references, Distance::kChamfer);
    const Coverage coverage = coverage_of(sr);
    return std::tuple(coverage.nearest_R.mean().item<double>(), coverage.is_covered_R.sum().item<std::int64_t>(),
                      own_neighbours(distance_matrix(references, references, Distance::kChamfer), sr,
                                     distance_matrix(samples, samples, Distance::kChamfer)));
  };
  CATCH_CHECK(scores(clouds, clouds) == std::tuple(0.0, 12, 0));  // everyone's nearest is its double
  CATCH_CHECK(std::get<2>(scores(clouds, clouds + 50.0)) == 24);  // two sets far apart
  const at::Tensor collapsed = clouds.narrow(0, 0, 1).expand({12, 3, 30}) + 1e-4 * random_clouds({12, 3, 30}, 9);
  CATCH_CHECK(std::get<1>(scores(collapsed, clouds)) == 1);  // one kind of sample covers one reference
  CATCH_CHECK(occupancy_divergence(clouds * 0.1, clouds * 0.1) == Catch::Approx(0.0).margin(1e-12));
  const at::Tensor left = at::full({2, 3, 5}, -0.2), right = at::full({2, 3, 5}, 0.2);
  CATCH_CHECK(occupancy_divergence(left, right) == Catch::Approx(1.0));  // one bit: no cell in common
}

CATCH_TEST_CASE("clouds of different sizes are refused where an assignment is asked for", "[points][metrics]") {
  const at::Tensor a = random_clouds({2, 3, 8}), b = random_clouds({2, 3, 9});
  CATCH_CHECK(testing::message_of<DataError>([&] { distance_matrix(a, b, Distance::kEmdExact); }) ==
              "an exact assignment needs clouds of one size, got 8 and 9 points.");
  CATCH_CHECK(distance_matrix(a, b, Distance::kEmdPvd).sizes() == at::IntArrayRef{2, 2});
}

CATCH_TEST_CASE("distances beyond all numbers are refused and not assigned", "[points][distances]") {
  const at::Tensor cloud = testing::random_clouds({1, 3, 4})[0];
  for (const Distance distance : {Distance::kEmdExact, Distance::kEmdExactSquared}) {
    CATCH_CHECK_THROWS_WITH(distance_between(cloud, cloud + 1e20, distance), Catch::Contains("needs finite distances"));
    CATCH_CHECK_THROWS_WITH(distance_between(cloud, cloud * std::nanf(""), distance),
                            Catch::Contains("needs finite distances"));
  }
}
