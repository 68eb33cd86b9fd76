// Trajectories of diffusers' own schedulers, written by tests/peers/golden_samplers.py.
#include "tests/catch.h"

#include <cmath>
#include <fstream>
#include <map>

#include <nlohmann/json.hpp>

#include "core/math/plan_analysis.h"
#include "tests/mixture.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

using Vector = std::vector<double>;

const nlohmann::json& golden() {
  static const nlohmann::json data = [] {
    std::ifstream file(std::string(THAW_SOURCE_DIR) + "/tests/golden/samplers_diffusers.json");
    return nlohmann::json::parse(file);
  }();
  return data;
}

Grid grid_of(const nlohmann::json& one, const Schedule& table) {
  Grid grid{.levels = {}, .times = one["timesteps"].get<Vector>(), .path = &table.path()};
  for (const double t : grid.times) grid.levels.push_back(table.at(t));
  grid.levels.push_back({1.0, 0.0});
  grid.times.push_back(-1.0);
  return grid;
}

double largest(const Vector& x) {
  double result = 0.0;
  for (const double value : x) result = std::max(result, std::abs(value));
  return result;
}

double relative_gap(const Vector& a, const Vector& b) {
  double result = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) result = std::max(result, std::abs(a[i] - b[i]));
  return result / largest(b);
}

/// States after every step, with the peer's noise in the order of the steps.
std::vector<Vector> trajectory(const nlohmann::json& one, const Plan& plan) {
  const auto noise = one["noise"].get<std::vector<Vector>>();
  std::size_t draws = 0;
  std::vector<Vector> states;
  run_on_host(
      plan, one["start"].get<Vector>(), denoise_mixture, [&](const Draw&) { return noise.at(draws++); },
      [&](const Mark&, std::span<const double> x) { states.emplace_back(x.begin(), x.end()); });
  return states;
}

}  // namespace

CATCH_TEST_CASE("samplers walk the trajectories of diffusers", "[samplers][peers]") {
  CATCH_REQUIRE(golden()["cases"].size() == 28);
  std::map<std::string, int> seen;
  for (const nlohmann::json& one : golden()["cases"]) {
    const auto sampler = one["sampler"].get<std::string>();
    const auto options = one["options"].get<std::string>();
    const SchedulePtr table = make_schedule(one["schedule"].get<std::string>());
    CATCH_CAPTURE(sampler, options, one["schedule"].dump(), one["spacing"].dump());
    const std::vector<Vector> states = trajectory(one, make_solver(sampler, options)(grid_of(one, *table)));
    const auto expected = one["states"].get<std::vector<Vector>>();
    CATCH_REQUIRE(states.size() == expected.size());
    // The peer's algebra in float64: the largest gap measured is 4.2e-15, rounding of ten steps.
    for (std::size_t i = 0; i < states.size(); ++i) CATCH_CHECK(relative_gap(states[i], expected[i]) < 1e-12);
    // The peer as it is has float32 tables: 8.6e-7 at most here.
    CATCH_CHECK(relative_gap(states.back(), one["shipped"].get<Vector>()) < 1e-5);
    ++seen[sampler];
  }
  CATCH_CHECK(seen.size() == 5);
}

CATCH_TEST_CASE("grids have the timesteps of diffusers", "[samplers][peers]") {
  int compared = 0;
  for (const nlohmann::json& one : golden()["cases"]) {
    const auto spacing = one["spacing"].get<std::string>();
    // DPMSolverMultistep spaces N + 1 points and drops the last one in "linspace": a grid of its own.
    if (spacing == "linspace") continue;
    Vector times = make_grid_on(*make_schedule(one["schedule"].get<std::string>()), spacing, 10).times;
    times.pop_back();
    CATCH_CAPTURE(one["peer"].dump(), spacing);
    CATCH_CHECK(times == one["timesteps"].get<Vector>());
    ++compared;
  }
  CATCH_CHECK(compared == 26);
}
