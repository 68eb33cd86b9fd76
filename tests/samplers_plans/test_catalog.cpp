#include "tests/catch.h"

#include <cmath>

#include "core/math/plan_analysis.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

constexpr std::size_t kSamplers = 6;

// One grid of each kind on each path; lambda from -4 to 6.
std::vector<Grid> grids_on(const Path& path) {
  std::vector<Grid> grids(3);
  std::vector<Level> karras, even;
  for (int i = 0; i <= 8; ++i) {
    const double root = std::pow(80.0, 1 / 7.0) + i / 8.0 * (std::pow(0.002, 1 / 7.0) - std::pow(80.0, 1 / 7.0));
    karras.push_back(path.at(-7.0 * std::log(root)));
    even.push_back(path.at(-4.0 + 10.0 * i / 8.0));
  }
  std::vector<Level> clean = karras;
  clean.push_back({1.0, 0.0});
  return {make_grid(path, karras), make_grid(path, even), make_grid(path, clean)};
}

}  // namespace

CATCH_TEST_CASE("every sampler says what it is", "[samplers][catalog]") {
  CATCH_REQUIRE(all_samplers().entries().size() == kSamplers);
  for (const auto& entry : all_samplers().entries()) {
    CATCH_CAPTURE(entry.info.name);
    CATCH_CHECK(!entry.info.summary.empty());
    CATCH_CHECK(!entry.info.source.empty());
    CATCH_CHECK(trait_value(entry.info, "evaluations_per_step", 0) >= 1);
  }
}

CATCH_TEST_CASE("every sampler keeps a point mass on every path and grid", "[samplers][catalog]") {
  int checked = 0;
  for (const std::string& name : all_samplers().names())
    for (const Path* path : standard_paths())
      for (const Grid& grid : grids_on(*path)) {
        CATCH_CAPTURE(name, path->name(), grid.size());
        CATCH_CHECK(point_mass_error(make_solver(name)(grid)) < 1e-9);
        ++checked;
      }
  CATCH_CHECK(checked == kSamplers * 3 * 3);
}

CATCH_TEST_CASE("options that keep the marginals keep a point mass, and those that do not are caught", "[samplers]") {
  for (const Path* path : standard_paths())
    for (const Grid& grid : grids_on(*path)) {
      const auto error = [&](const char* name, const char* options) {
        return point_mass_error(make_solver(name, options)(grid));
      };
      CATCH_CAPTURE(path->name(), grid.size());
      CATCH_CHECK(error("ddim", "eta: 0.5") < 1e-9);
      CATCH_CHECK(error("heun", "s_churn: 40") < 1e-9);
      CATCH_CHECK(error("dpmpp_2m", "solver_type: heun") < 1e-9);
      CATCH_CHECK(error("heun", "s_churn: 40, s_noise: 1.003") > 1e-4);
      CATCH_CHECK(error("ddpm", "variance: large") > 1e-4);
    }
}

CATCH_TEST_CASE("a sampler is one method whatever path it is written on", "[samplers][catalog]") {
  for (const std::string& name : all_samplers().names())
    for (std::size_t g = 0; g < 3; ++g) {
      const Plan plans[] = {make_solver(name)(grids_on(variance_preserving())[g]),
                            make_solver(name)(grids_on(variance_exploding())[g]),
                            make_solver(name)(grids_on(linear_path())[g])};
      CATCH_CAPTURE(name, g);
      CATCH_CHECK(plan_distance(plans[0], plans[1]) < 1e-9);  // y = x / alpha reaches 80: 1e-11 of it
      CATCH_CHECK(plan_distance(plans[2], plans[1]) < 1e-9);
    }
}

CATCH_TEST_CASE("methods that are the same have the same normal form", "[samplers][catalog]") {
  for (const Path* path : standard_paths())
    for (const Grid& grid : grids_on(*path)) {
      const auto plan = [&](const char* name, const char* options = "") { return make_solver(name, options)(grid); };
      CATCH_CAPTURE(path->name(), grid.size());
      CATCH_CHECK(plan_distance(plan("ddim", "eta: 1"), plan("ddpm")) < 1e-12);
      // Coefficients of order 80 on sigma 80: 1e-12 relative.
      CATCH_CHECK(plan_distance(plan("ddim"), plan("euler")) < 1e-10);
      CATCH_CHECK(plan_distance(plan("ddim"), plan("ddim", "eta: 0.5")) > 1e-2);
      CATCH_CHECK(plan_distance(plan("dpmpp_2m"), plan("dpmpp_2m", "solver_type: heun")) > 1e-3);
      CATCH_CHECK(std::isinf(plan_distance(plan("ddim"), plan("heun"))));
    }
}

CATCH_TEST_CASE("every sampler makes finite plans on every grid and schedule", "[samplers][catalog]") {
  int made = 0, refused = 0;
  for (const auto& sampler : all_samplers().entries())
    for (const std::string& schedule_name : all_schedules().names())
      for (const auto& grid_entry : all_grids().entries())
        for (int steps : {1, 2, 10})
          for (const char* end : {"final: clean", "final: sigma_min"}) {
            const SchedulePtr schedule = make_schedule(schedule_name);
            if (schedule->reaches_alpha_zero() && grid_entry.info.has_trait("refuses_alpha_zero")) continue;
            const Grid grid = make_grid_on(*schedule, grid_entry.info.name, steps, end);
            CATCH_CAPTURE(sampler.info.name, schedule_name, grid_entry.info.name, steps, end);
            if (grid.front().alpha == 0.0 && sampler.info.has_trait("refuses_alpha_zero")) {
              CATCH_CHECK(has_text(message_of([&] { make_solver(sampler.info.name)(grid); }), "alpha = 0"));
              ++refused;
              continue;
            }
            const Plan plan = make_solver(sampler.info.name)(grid);  // finish validates: all weights are finite
            CATCH_CHECK(plan.steps() == steps);
            CATCH_CHECK(plan.evaluations() <= steps * trait_value(sampler.info, "evaluations_per_step", 0));
            CATCH_CHECK(plan.evaluations() >= steps);
            ++made;
          }
  // 38 pairs of schedule and grid; heun refuses the two on flow that start at t = 1.
  CATCH_CHECK(refused == 2 * 6);
  CATCH_CHECK(made == 38 * 6 * 6 - 2 * 6);
}

CATCH_TEST_CASE("samplers that start without signal forget that node", "[samplers][alpha_zero]") {
  const SchedulePtr table = make_schedule("linear", "zero_terminal_snr: true");
  const Grid grid = make_grid_on(*table, "trailing", 8);
  CATCH_REQUIRE(grid.front().alpha == 0.0);
  for (const auto& entry : all_samplers().entries()) {
    if (entry.info.has_trait("refuses_alpha_zero")) continue;
    CATCH_CAPTURE(entry.info.name);
    const Plan plan = make_solver(entry.info.name)(grid);
    CATCH_CHECK(point_mass_error(plan) < 1e-9);
    // The second step of a multistep method must not use the first prediction: its slope over an infinite interval is
    // 0.
    const Tableau tableau = normal_form(plan);
    if (entry.info.name == "dpmpp_2m") {
      const Tableau first = normal_form(make_solver("ddim")(grid));
      CATCH_CHECK(tableau.inputs[2].on_data[0] == Catch::Approx(first.inputs[2].on_data[0]).epsilon(1e-12));
    }
  }
  CATCH_CHECK(
      has_text(message_of([&] { make_solver("heun")(grid); }), "sampler \"heun\": cannot start from alpha = 0"));
}

CATCH_TEST_CASE("steps_within finds the largest plan inside a budget of evaluations", "[samplers][budget]") {
  const GridFactory clean = [](int steps) { return karras_grid(steps, "clean"); };
  for (int budget : {1, 2, 5, 10, 20, 50}) {
    CATCH_CAPTURE(budget);
    CATCH_CHECK(steps_within(make_solver("ddim"), clean, budget) == budget);
    CATCH_CHECK(steps_within(make_solver("heun"), clean, budget) == (budget + 1) / 2);  // N steps: 2 N - 1
  }
  const GridFactory short_table = [](int steps) {
    return make_grid_on(*make_schedule("linear", "timesteps: 6"), "trailing", steps);
  };
  CATCH_CHECK(steps_within(make_solver("ddim"), short_table, 50) == 6);
  const GridFactory noisy = [](int steps) { return karras_grid(steps); };
  CATCH_CHECK(!steps_within(make_solver("heun"), noisy, 1).has_value());
}

CATCH_TEST_CASE("more steps share the noise of fewer", "[samplers][noise]") {
  // Strong error on one path shrinks as steps grow; with unrelated noise it would stay near 0.7.
  const auto gap = [](int steps) {
    const Grid coarse = make_grid_on(*make_schedule("edm"), "uniform_lambda", steps, "final: sigma_min");
    const Grid fine = make_grid_on(*make_schedule("edm"), "uniform_lambda", 16 * steps, "final: sigma_min");
    const Solver solver = make_solver("ddim", "eta: 1");
    return strong_error(solver(coarse), solver(fine), {.mean = 0.0, .variance = 0.25});
  };
  CATCH_CHECK(gap(64) < 0.5 * gap(16));
  CATCH_CHECK(gap(64) < 0.1);
}
