#include "tests/catch.h"

#include <cmath>

#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

std::vector<double> noisy_times(const Grid& grid) {
  std::vector<double> times = grid.times;
  if (grid.back().is_clean()) times.pop_back();
  return times;
}

std::string listed_lambdas(int steps, const std::string& end) {
  const int points = end == "final: clean" ? steps : steps + 1;
  std::string list;
  for (int i = 0; i < points; ++i) list += (i == 0 ? "" : ", ") + std::to_string(-3.0 + 6.0 * i / points);
  return ", by: lambda, levels: [" + list + "]";
}

std::string hundred_betas() {
  std::string list;
  for (int i = 0; i < 100; ++i) list += (i == 0 ? "" : ", ") + std::to_string(0.001 + 0.001 * i);
  return "betas: [" + list + "]";
}

}  // namespace

CATCH_TEST_CASE("timesteps of tables are those of the papers' spacings", "[math][grid]") {
  const SchedulePtr table = make_schedule("linear");
  using Times = std::vector<double>;
  CATCH_CHECK(noisy_times(make_grid_on(*table, "trailing", 4)) == Times{999, 749, 499, 249});
  CATCH_CHECK(noisy_times(make_grid_on(*table, "leading", 4)) == Times{750, 500, 250, 0});
  CATCH_CHECK(noisy_times(make_grid_on(*table, "leading", 4, "offset: 1")) == Times{751, 501, 251, 1});
  CATCH_CHECK(noisy_times(make_grid_on(*table, "linspace", 4)) == Times{999, 666, 333, 0});
  // numpy.round(numpy.arange(1000, 0, -1000 / 7)) - 1
  CATCH_CHECK(noisy_times(make_grid_on(*table, "trailing", 7)) == Times{999, 856, 713, 570, 428, 285, 142});
  CATCH_CHECK(noisy_times(make_grid_on(*table, "trailing", 1)) == Times{999});
  CATCH_CHECK(noisy_times(make_grid_on(*table, "linspace", 1)) == Times{999});
}

CATCH_TEST_CASE("sigma_min ends every grid at the schedule's cleanest noisy level", "[math][grid]") {
  for (const char* name : {"linear", "cosine", "edm"})
    for (const auto& entry : all_grids().entries()) {
      if (entry.info.has_trait("own_ends")) continue;
      const std::string& type = entry.info.name;
      const SchedulePtr schedule = make_schedule(name);
      const Grid grid = make_grid_on(*schedule, type, 6, "final: sigma_min");
      CATCH_CAPTURE(name, type);
      CATCH_CHECK(grid.steps() == 6);
      CATCH_CHECK(grid.back().sigma == Catch::Approx(schedule->at(schedule->t_min()).sigma).epsilon(1e-12));
    }
}

CATCH_TEST_CASE("every grid falls in noise on every schedule", "[math][grid]") {
  CATCH_REQUIRE(all_grids().entries().size() == 18);
  int made = 0, refused = 0;
  for (const std::string& name : all_schedules().names())
    for (const auto& entry : all_grids().entries())
      for (int steps : {1, 2, 7, 50}) {
        if (entry.info.name == "greedy" && name != "linear" && name != "edm" && name != "flow") continue;  // 10 ms each
        for (const char* end : {"final: clean", "final: sigma_min"}) {
          const std::string own = entry.info.name == "list" ? listed_lambdas(steps, end) : "";
          const SchedulePtr schedule = make_schedule(name, name == "betas" ? hundred_betas() : "");
          CATCH_CAPTURE(name, entry.info.name, steps, end);
          if (schedule->reaches_alpha_zero() && entry.info.has_trait("refuses_alpha_zero")) {
            CATCH_CHECK(
                has_text(message_of([&] { make_grid_on(*schedule, entry.info.name, steps, end); }), "no signal"));
            ++refused;
            continue;
          }
          const Grid grid = make_grid_on(*schedule, entry.info.name, steps, end + own);
          CATCH_CHECK_NOTHROW(expect_grid(grid));
          CATCH_CHECK(grid.steps() == static_cast<std::size_t>(steps));
          CATCH_CHECK(grid.times.size() == grid.levels.size());
          CATCH_CHECK(grid.back().is_clean() == (std::string(end) == "final: clean"));
          CATCH_CHECK(static_cast<bool>(grid.at_time) == (schedule->discrete_steps() > 0));
          for (std::size_t i = 0; i + 1 < grid.size() && !entry.info.has_trait("own_ends"); ++i)
            CATCH_CHECK(schedule->at(grid.times[i]).sigma == Catch::Approx(grid[i].sigma).epsilon(1e-9));
          ++made;
        }
      }
  // flow, flow_dynamic and trigflow reach alpha = 0; five grids refuse that, greedy was tried on one of the three.
  CATCH_CHECK(refused == (3 * 4 + 1) * 8);
  CATCH_CHECK(made == (17 * 17 + 3) * 8 - refused);
}

CATCH_TEST_CASE("the karras grid is even in the seventh root", "[math][grid]") {
  const Grid grid = karras_grid(18);
  CATCH_REQUIRE(grid.size() == 19);
  CATCH_CHECK(grid[0].sigma == Catch::Approx(80.0).epsilon(1e-13));
  CATCH_CHECK(grid[18].sigma == Catch::Approx(0.002).epsilon(1e-13));
  const double gap = std::pow(80.0, 1 / 7.0) - std::pow(grid[1].sigma, 1 / 7.0);
  for (std::size_t i = 1; i < 18; ++i)
    CATCH_CHECK(std::pow(grid[i].sigma, 1 / 7.0) - std::pow(grid[i + 1].sigma, 1 / 7.0) ==
                Catch::Approx(gap).epsilon(1e-11));
}

CATCH_TEST_CASE("uniform_lambda is even in lambda and takes a range", "[math][grid]") {
  const Grid grid = make_grid_on(*make_schedule("flow"), "uniform_lambda", 4, "final: sigma_min, range: [-4, 4]");
  for (std::size_t i = 0; i < 5; ++i)
    CATCH_CHECK(grid[i].lambda() == Catch::Approx(-4.0 + 2.0 * static_cast<double>(i)).margin(1e-12));
}

CATCH_TEST_CASE("grids say what is wrong with an impossible request", "[math][grid]") {
  const SchedulePtr table = make_schedule("linear", "timesteps: 10");
  CATCH_CHECK(has_text(message_of([&] { make_grid_on(*table, "trailing", 11); }), "has 10 timesteps, 11 levels"));
  CATCH_CHECK(has_text(message_of([&] { make_grid_on(*table, "leading", 10, "offset: 1"); }), "the table ends at 9"));
  CATCH_CHECK(
      has_text(message_of([&] { make_grid_on(*make_schedule("edm"), "trailing", 100000); }), "finer than t_min"));
  CATCH_CHECK_THROWS_AS(expect_grid(make_grid(variance_exploding(), {{1, 2}, {1, 2}})), ConfigError);
  CATCH_CHECK_THROWS_AS(expect_grid(make_grid(variance_exploding(), {{1, 2}, {1, 0}, {1, 0}})), ConfigError);
  CATCH_CHECK_THROWS_AS(expect_grid(make_grid(variance_exploding(), {{1, 2}})), ConfigError);
}
