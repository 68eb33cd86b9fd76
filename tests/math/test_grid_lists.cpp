#include "tests/catch.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/math/greedy.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

double cost_of(const std::vector<std::vector<double>>& costs, const std::vector<std::size_t>& path, double growth) {
  double total = 0.0;
  for (std::size_t k = 0; k + 1 < path.size(); ++k) total = growth * total + costs[path[k]][path[k + 1]];
  return total;
}

// Every way from the first node to the last, by the bits of the nodes between.
double cheapest_by_force(const std::vector<std::vector<double>>& costs, int steps, double growth) {
  const std::size_t between = costs.size() - 2;
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t bits = 0; bits < (std::size_t{1} << between); ++bits) {
    std::vector<std::size_t> path{0};
    for (std::size_t i = 0; i < between; ++i)
      if ((bits >> i) & 1U) path.push_back(i + 1);
    path.push_back(costs.size() - 1);
    if (path.size() == static_cast<std::size_t>(steps) + 1) best = std::min(best, cost_of(costs, path, growth));
  }
  return best;
}

std::vector<double> falling_ratios(int count) {
  std::vector<double> ratios;
  for (int i = 0; i + 1 < count; ++i) ratios.push_back(80.0 * std::pow(0.002 / 80.0, i / (count - 2.0)));
  ratios.push_back(0.0);
  return ratios;
}

}  // namespace

CATCH_TEST_CASE("the greedy grid is the cheapest of all ways", "[math][grid][greedy]") {
  const auto costs = euler_errors(reference_mixture(), falling_ratios(12));
  for (double growth : {1.0, 1.15})
    for (int steps : {1, 2, 4, 7, 11}) {
      CATCH_CAPTURE(growth, steps);
      const std::vector<std::size_t> path = cheapest_path(costs, steps, growth);
      CATCH_REQUIRE(path.size() == static_cast<std::size_t>(steps) + 1);
      CATCH_CHECK(std::is_sorted(path.begin(), path.end()));
      CATCH_CHECK(cost_of(costs, path, growth) ==
                  Catch::Approx(cheapest_by_force(costs, steps, growth)).epsilon(1e-13));
    }
  CATCH_CHECK(cheapest_path(costs, 4) != cheapest_path(costs, 4, 3.0));
}

CATCH_TEST_CASE("local errors are those of one Euler step off the exact trajectory", "[math][grid][greedy]") {
  // N(m, s^2): x - m grows as sqrt(s^2 + ratio^2), and an Euler step multiplies it by (s^2 + from to) / (s^2 + from^2).
  const double s = 0.5;
  const std::vector<double> ratios{5.0, 1.0, 0.0};
  const auto costs = euler_errors({{{1.0, {0.7, s * s}}}}, ratios);
  double square = 0.0;  // of the 15 normal quantiles that both use
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = i + 1; j < 3; ++j) {
      const double from = std::hypot(s, ratios[i]), to = std::hypot(s, ratios[j]);
      const double miss = std::abs(from * (s * s + ratios[i] * ratios[j]) / (from * from) - to);
      CATCH_CAPTURE(i, j);
      if (square == 0.0) square = costs[i][j] / miss;
      CATCH_CHECK(costs[i][j] == Catch::Approx(square * miss).epsilon(1e-12));
    }
  // Root mean square of normal quantiles at (q + 1/2) / 15, from scipy.
  CATCH_CHECK(square == Catch::Approx(0.9585152971818499).epsilon(1e-12));
  // Two equal halves are the whole: the mixture's formulas against the Gaussian's.
  const auto halves = euler_errors({{{0.5, {0.7, s * s}}, {0.5, {0.7, s * s}}}}, ratios);
  CATCH_CHECK(halves[0][2] == Catch::Approx(costs[0][2]).epsilon(1e-12));
}

CATCH_TEST_CASE("the greedy grid beats the others at its own measure and takes its data", "[math][grid][greedy]") {
  const SchedulePtr edm = make_schedule("edm");
  const std::string mixture = "weights: [0.3, 0.7], means: [-1, 0.8], stds: [0.25, 0.4]";
  const auto error_of = [&](const Grid& grid) {
    std::vector<double> ratios;
    for (const Level& level : grid.levels) ratios.push_back(level.rho());
    const auto costs = euler_errors(reference_mixture(), ratios);
    double total = 0.0;
    for (std::size_t i = 0; i + 1 < ratios.size(); ++i) total += costs[i][i + 1];
    return total;
  };
  const Grid greedy = make_grid_on(*edm, "greedy", 8, mixture);
  CATCH_REQUIRE(greedy.steps() == 8);
  for (const char* type : {"karras", "exponential", "kl_optimal", "beta"}) {
    CATCH_CAPTURE(type);
    CATCH_CHECK(error_of(greedy) < error_of(make_grid_on(*edm, type, 8)));
  }
  CATCH_CHECK(greedy.levels != make_grid_on(*edm, "greedy", 8).levels);
  CATCH_CHECK(make_grid_on(*edm, "greedy", 8, "final: sigma_min").back().sigma == Catch::Approx(0.002).epsilon(1e-12));
  CATCH_CHECK(has_text(message_of([&] { make_grid_on(*edm, "greedy", 8, "candidates: 7"); }),
                       "candidates: must be at least the 8 noisy levels asked for, got 7."));
  CATCH_CHECK(has_text(message_of([&] { make_grid_on(*edm, "greedy", 8, "stds: [1, 2]"); }),
                       "stds: has 2 entries, weights has 1."));
}

CATCH_TEST_CASE("published levels are the published levels", "[math][grid]") {
  const SchedulePtr table = make_schedule("scaled_linear");
  const Grid grid = make_grid_on(*table, "ays", 10);
  const std::vector<double> published{14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152};
  for (std::size_t i = 0; i < 10; ++i) CATCH_CHECK(grid[i].rho() == Catch::Approx(published[i]).epsilon(1e-13));
  CATCH_CHECK(grid.back().is_clean());
  const Grid steps = make_grid_on(*table, "ays", 10, "model: sdxl, by: timestep");
  CATCH_CHECK(steps.times == std::vector<double>{999, 845, 730, 587, 443, 310, 193, 116, 53, 13, -1});
  CATCH_CHECK(steps[3] == table->at(587));
  // Twice as many steps: every other level is published, those between are geometric means.
  const Grid twice = make_grid_on(*make_schedule("edm"), "ays", 20, "model: svd, final: sigma_min");
  CATCH_CHECK(twice[2].rho() == Catch::Approx(54.5).epsilon(1e-12));
  CATCH_CHECK(twice[1].rho() == Catch::Approx(std::sqrt(700.0 * 54.5)).epsilon(1e-12));
  CATCH_CHECK(twice[20].rho() == Catch::Approx(0.002).epsilon(1e-12));
  CATCH_CHECK(has_text(message_of([&] { make_grid_on(*table, "ays", 12, "by: timestep"); }),
                       "steps: timesteps are published for 10 steps, got 12."));
  CATCH_CHECK(has_text(message_of([&] { make_grid_on(*table, "ays", 10, "model: svd, by: timestep"); }),
                       "is not published for svd."));
}

CATCH_TEST_CASE("a list gives levels by ratio, sigma, lambda or time", "[math][grid]") {
  const auto list = [](const Schedule& schedule, const std::string& options) {
    return all_grids().create(section("list", options), "", schedule);
  };
  const SchedulePtr flow = make_schedule("flow"), table = make_schedule("linear");
  CATCH_CHECK(list(*flow, "by: sigma, levels: [1, 0.75, 0.5, 0]").levels ==
              std::vector<Level>{{0, 1}, {0.25, 0.75}, {0.5, 0.5}, {1, 0}});
  CATCH_CHECK(list(*table, "levels: [3, 1]")[1].rho() == Catch::Approx(1.0).epsilon(1e-14));
  CATCH_CHECK(list(*table, "by: lambda, levels: [-2, 1], final: sigma_min")[1].lambda() ==
              Catch::Approx(1.0).epsilon(1e-14));
  CATCH_CHECK(list(*table, "by: time, levels: [999, 500, 0.5], final: sigma_min")[2] == table->at(0.5));
  const Grid then = list(*table, "by: time, levels: [900, 500], final: then_sigma_min");
  CATCH_CHECK(then.times == std::vector<double>{900, 500, 0});

  const auto refusal = [&](const Schedule& schedule, const std::string& options) {
    return message_of([&] { list(schedule, options); });
  };
  CATCH_CHECK(has_text(refusal(*table, "levels: [3, 2, 2.5]"), "levels: must fall: entry 2 is 2 and entry 3 is 2.5."));
  CATCH_CHECK(has_text(refusal(*table, "by: lambda, levels: [1, 0]"), "must rise: entry 1 is 1 and entry 2 is 0."));
  CATCH_CHECK(
      has_text(refusal(*table, "by: time, levels: [1000, 0]"), "entry 1 is 1000; schedule \"linear\" runs from 0"));
  CATCH_CHECK(has_text(refusal(*flow, "by: sigma, levels: [1.5, 0.5]"), "path linear runs from 0 to 1."));
  CATCH_CHECK(has_text(refusal(*flow, "levels: [2, -1]"), "entry 2 is -1; noise is at least 0."));
  CATCH_CHECK(has_text(refusal(*flow, "levels: [2, 1, 0], final: sigma_min"), "only \"final: clean\" does."));
  CATCH_CHECK(has_text(refusal(*flow, "levels: [2], final: sigma_min"), "gives 0 steps, at least 1 is needed."));
  CATCH_CHECK(has_text(refusal(*flow, "levels: [2, 1], steps: 5"), "steps: the list has 2 steps, got 5."));
}

CATCH_TEST_CASE("spacings are what their names say", "[math][grid]") {
  const SchedulePtr edm = make_schedule("edm");
  const auto ratios = [](const Grid& grid) {
    std::vector<double> values;
    for (const Level& level : grid.levels) values.push_back(level.rho());
    return values;
  };
  const auto same = [&](const Grid& left, const Grid& right) {
    CATCH_REQUIRE(left.size() == right.size());
    for (std::size_t i = 0; i < left.size(); ++i)
      CATCH_CHECK(ratios(left)[i] == Catch::Approx(ratios(right)[i]).epsilon(1e-11));
  };
  for (const char* end : {"final: clean", "final: sigma_min", "drop_last: true"}) {
    CATCH_CAPTURE(end);
    const std::string with = std::string(", ") + end;
    same(make_grid_on(*edm, "exponential", 9, end), make_grid_on(*edm, "uniform_lambda", 9, end));
    same(make_grid_on(*edm, "exponential", 9, end), make_grid_on(*edm, "polyexponential", 9, end));
    same(make_grid_on(*edm, "uniform_sigma", 9, end), make_grid_on(*edm, "karras", 9, "rho: 1" + with));
    same(make_grid_on(*edm, "uniform_sigma", 9, end),
         make_grid_on(*edm, "beta", 9, "variable: ratio, a: 1, b: 1" + with));
    same(make_grid_on(*edm, "cosine", 9, end), make_grid_on(*edm, "beta", 9, "a: 0.5, b: 0.5" + with));
  }
  // Time is the angle on trigflow.
  const SchedulePtr unit = make_schedule("trigflow", "sigma_data: 1");
  same(make_grid_on(*unit, "kl_optimal", 9, "final: sigma_min"),
       make_grid_on(*unit, "linspace", 9, "final: sigma_min"));
  // k-diffusion get_sigmas_polyexponential(4, 0.1, 10, rho=2)
  const std::vector<double> poly =
      ratios(make_grid_on(*edm, "polyexponential", 4, "rho: 2, sigma_min: 0.1, sigma_max: 10"));
  CATCH_CHECK(poly[1] == Catch::Approx(0.1 * std::pow(100.0, 4.0 / 9.0)).epsilon(1e-13));
  const std::vector<double> crash = ratios(make_grid_on(*unit, "crash", 4));
  const double sigma = std::pow(std::sin(0.375 * std::numbers::pi), 2);
  CATCH_CHECK(crash[1] == Catch::Approx(sigma / std::sqrt(1.0 - sigma * sigma)).epsilon(1e-12));
}

CATCH_TEST_CASE("spacings of tables count their timesteps as published", "[math][grid]") {
  using Times = std::vector<double>;
  const SchedulePtr table = make_schedule("linear");
  const auto times = [&](const char* type, int steps, const char* options = "") {
    return make_grid_on(*table, type, steps, options).times;
  };
  CATCH_CHECK(times("simple", 3) == Times{999, 666, 333, -1});
  CATCH_CHECK(times("sgm_uniform", 4) == Times{999, 749.25, 499.5, 249.75, -1});
  CATCH_CHECK(times("sgm_uniform", 4, "floor: true") == Times{999, 749, 499, 249, -1});
  CATCH_CHECK(times("lcm", 4) == Times{999, 759, 499, 259, -1});
  CATCH_CHECK(times("linspace", 3, "round: false") == Times{999, 499.5, 0, -1});
  CATCH_CHECK(times("linspace", 3, "drop_last: true, final: then_sigma_min") == Times{999, 666, 333, 0});
  CATCH_CHECK(times("leading", 3, "drop_last: true, offset: 1") == Times{751, 501, 251, -1});
  CATCH_CHECK(times("beta", 2, "drop_last: true, round: true") == Times{999, 500, -1});
  // Interpolation matters between timesteps only.
  const Grid by_ratio = make_grid_on(*table, "linspace", 3, "round: false, interpolation: ratio");
  CATCH_CHECK(by_ratio[1].rho() == Catch::Approx(0.5 * (table->at(499).rho() + table->at(500).rho())).epsilon(1e-14));
  CATCH_CHECK(by_ratio[1].rho() != make_grid_on(*table, "linspace", 3, "round: false")[1].rho());
  CATCH_CHECK(by_ratio.at_time(250.0) == table->at(250));

  const auto refusal = [&](const char* type, int steps, const std::string& options) {
    return message_of([&] { make_grid_on(*table, type, steps, options); });
  };
  CATCH_CHECK(has_text(refusal("karras", 5, "drop_last: true, final: sigma_min"), "drop_last: leaves out the level"));
  CATCH_CHECK(has_text(refusal("karras", 5, "final: then_sigma_min"), "final: levels 4 and 5 do not fall in noise"));
  CATCH_CHECK(has_text(refusal("karras", 5, "sigma_min: 2, sigma_max: 1"), "must be above sigma_min 2, got 1."));
  CATCH_CHECK(has_text(refusal("karras", 5, "variable: sigma, sigma_max: 2"), "ends at sigma 1, got 2."));
  CATCH_CHECK(has_text(refusal("beta", 5, "sigma_max: 2"), "sigma_max: is not read with \"variable: time\"."));
  CATCH_CHECK(has_text(refusal("beta", 5, "round: true, variable: ratio"), "round: needs \"variable: time\""));
  CATCH_CHECK(has_text(refusal("beta", 900, "round: true"), "steps: levels 0 and 1 do not fall in noise"));
  CATCH_CHECK(has_text(refusal("lcm", 60, ""), "original_steps: must be at least steps 60, got 50."));
  CATCH_CHECK(has_text(refusal("lcm", 6, "original_steps: 2000"), "must be at most the 1000 timesteps"));
  CATCH_CHECK(has_text(refusal("simple", 1001, ""), "has 1000 timesteps, 1001 levels were asked for."));
  CATCH_CHECK(has_text(message_of([] { make_grid_on(*make_schedule("edm"), "karras", 5, "ends: leading"); }),
                       "ends: \"leading\" needs a schedule with a table."));
  CATCH_CHECK_THROWS_AS(make_grid_on(*table, "trailing", 0), ConfigError);
}

CATCH_TEST_CASE("a grid keeps the table of its timesteps alive", "[math][grid]") {
  Grid grid;
  {
    const SchedulePtr table = make_schedule("linear");
    grid = make_grid_on(*table, "trailing", 4);
  }
  CATCH_CHECK(grid.at_time(999).alpha == Catch::Approx(std::sqrt(4.0358e-5)).epsilon(1e-4));
}
