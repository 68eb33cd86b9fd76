#include "tests/catch.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;
using Json = nlohmann::json;

namespace {

const Json& golden() {
  static const Json json =
      Json::parse(std::ifstream(std::string(THAW_SOURCE_DIR) + "/tests/golden/grids_diffusers.json"));
  return json;
}

double level_value(const Grid& grid, std::size_t i, const std::string& kind) {
  return kind == "ratio" ? grid[i].rho() : kind == "sigma" ? grid[i].sigma : grid.times[i];
}

double number(const Json& value) {
  return value.is_string() ? std::numeric_limits<double>::infinity() : value.get<double>();
}

SchedulePtr schedule_of(const Json& one) {
  return make_schedule(one["schedule"].get<std::string>(), one["schedule_options"].get<std::string>());
}

Grid grid_of(const Json& one, const Schedule& schedule) {
  return all_grids().create(section(one["grid"].get<std::string>(), one["grid_options"].get<std::string>()), "",
                            schedule);
}

}  // namespace

CATCH_TEST_CASE("tables are diffusers' in double", "[math][schedule][peers]") {
  CATCH_REQUIRE(golden()["tables"].size() == 17);
  for (const Json& one : golden()["tables"]) {
    const SchedulePtr schedule = schedule_of(one);
    for (std::size_t i = 0; i < one["timesteps"].size(); ++i) {
      const double t = one["timesteps"][i], alpha_bar = one["alpha_bar"][i];
      CATCH_CAPTURE(one["schedule"].get<std::string>(), one["schedule_options"].get<std::string>(), t);
      // A product of 1000 factors, each within half an ulp, and the peer's extra round trip through betas.
      CATCH_CHECK(std::pow(schedule->at(t).alpha, 2) == Catch::Approx(alpha_bar).epsilon(1e-12));
    }
  }
}

CATCH_TEST_CASE("every option combination of diffusers' schedulers is a schedule and a grid", "[math][grid][peers]") {
  CATCH_REQUIRE(golden()["cases"].size() >= 60);
  std::set<std::string> peers;
  double worst = 0.0;
  for (const Json& one : golden()["cases"]) {
    CATCH_CAPTURE(one["peer"].get<std::string>(), one["config"].dump(), one["schedule"].get<std::string>(),
                  one["schedule_options"].get<std::string>(), one["grid"].get<std::string>(),
                  one["grid_options"].get<std::string>());
    peers.insert(one["peer"].get<std::string>());
    const SchedulePtr schedule = schedule_of(one);
    const Grid grid = grid_of(one, *schedule);
    CATCH_CHECK_NOTHROW(expect_grid(grid));
    CATCH_REQUIRE(grid.size() == one["levels"].size());
    for (std::size_t i = 0; i < grid.size(); ++i) {
      const double peer = number(one["levels"][i]), mine = level_value(grid, i, one["kind"].get<std::string>());
      CATCH_CAPTURE(i, peer, mine);
      if (std::isinf(peer)) {
        CATCH_CHECK(std::isinf(mine));
      } else {
        CATCH_CHECK(std::abs(mine - peer) <= 1e-12 * std::max(1e-3, std::abs(peer)));
        worst = std::max(worst, std::abs(mine - peer) / std::max(1e-3, std::abs(peer)));
      }
    }
  }
  CATCH_CAPTURE(worst / 1e-15);
  CATCH_CHECK(peers.size() == 25);
  CATCH_CHECK(worst > 0.0);  // two programs: none of it is a copy
}

CATCH_TEST_CASE("the times of a grid are the timesteps that diffusers' network is told", "[math][grid][peers]") {
  int checked = 0;
  for (const Json& one : golden()["cases"]) {
    if (!one.contains("times")) continue;
    CATCH_CAPTURE(one["config"].dump(), one["grid"].get<std::string>(), one["grid_options"].get<std::string>());
    const SchedulePtr schedule = schedule_of(one);
    const Grid grid = grid_of(one, *schedule);
    for (std::size_t i = 0; i < grid.steps(); ++i) {
      // The inverse of a steep table loses digits: lambda moves by 1e-2 a timestep.
      CATCH_CAPTURE(i);
      CATCH_CHECK(grid.times[i] == Catch::Approx(one["times"][i].get<double>()).margin(1e-9));
      ++checked;
    }
  }
  CATCH_CHECK(checked > 300);
}
