// What holds of every sampler of the catalog, whoever wrote it.
#include "tests/catch.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "core/math/plan_analysis.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

using SamplerEntry = SamplerRegistry::EntryType;

// One list, typed: a sampler that vanishes with its file and its line is missed here.
// clang-format off
const std::vector<std::string> kNames{
    "bdia", "bdia_inversion", "consistency", "ctm", "ddim", "ddim_cfgpp", "ddim_inversion", "ddpm", "deis", "dpm2",
    "dpm2_ancestral", "dpm_2m", "dpm_2s", "dpm_3m", "dpm_3m_compat", "dpm_3s", "dpm_adaptive", "dpm_fast",
    "dpm_singlestep", "dpmpp_1s", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_v2", "dpmpp_2s", "dpmpp_2s_ancestral",
    "dpmpp_3m", "dpmpp_3m_compat", "dpmpp_3m_sde", "dpmpp_3m_sde_compat", "dpmpp_3m_sde_compat_hf", "dpmpp_3s",
    "dpmpp_sde", "dpmpp_singlestep", "edict", "edict_inversion", "er_sde", "er_sde_compat", "euler",
    "euler_ancestral", "euler_cfgpp", "exponential_ab", "fixed_point_inversion", "flow_euler", "flow_heun",
    "flow_map", "flow_rk4", "gradient_estimation", "heun", "heunpp2", "ipndm", "ipndm_compat_hf", "ipndm_v", "langevin_pc", "lcm",
    "lms", "picard", "plms", "pndm", "repaint", "res_2s", "res_3s", "res_adaptive", "res_multistep", "restart",
    "rf_ancestral", "rk4", "rk45", "sa_solver", "sde_dpmsolver", "tcd", "unipc"};
// clang-format on

bool makes_plans(const SamplerEntry& entry) {
  return !entry.info.has_trait("adaptive");
}

// One grid of each kind on each path; lambda from -4 to 6.
std::vector<Grid> grids_on(const Path& path) {
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

// Grids that a sampler's traits allow: a state without noise has no point-mass marginal to start an inversion from.
std::vector<Grid> grids_for(const SamplerEntry& entry, const Path& path) {
  std::vector<Grid> grids = grids_on(path);
  if (entry.info.has_trait("inverts")) grids.pop_back();
  if (entry.info.has_trait("needs_timesteps")) grids.clear();
  return grids;
}

}  // namespace

CATCH_TEST_CASE("the catalog has every sampler there is a file for, and no fewer than are listed here",
                "[samplers][catalog]") {
  std::vector<std::string> names = all_samplers().names(), files;
  std::sort(names.begin(), names.end());
  CATCH_CHECK(names == kNames);
  for (const std::string& name : kNames)
    CATCH_CHECK(std::filesystem::exists(std::string(THAW_SOURCE_DIR) + "/samplers/" + name + ".cpp"));
}

CATCH_TEST_CASE("every sampler says what it is", "[samplers][catalog]") {
  const std::set<std::string> known{"adaptive",      "breaks_marginals",  "compat",     "evaluations_per_step",
                                    "inverts",       "extra_evaluations", "own_levels", "needs_timesteps",
                                    "order",         "path_bound",        "stochastic", "refuses_alpha_zero",
                                    "measured_order"};
  for (const auto& entry : all_samplers().entries()) {
    CATCH_CAPTURE(entry.info.name);
    CATCH_CHECK(!entry.info.summary.empty());
    CATCH_CHECK(!entry.info.source.empty());
    for (const std::string& trait : entry.info.traits) {
      CATCH_CAPTURE(trait);
      CATCH_CHECK(known.count(trait.substr(0, trait.find('='))) == 1);
    }
    if (makes_plans(entry)) CATCH_CHECK(trait_value(entry.info, "evaluations_per_step", 0) >= 1);
  }
}

CATCH_TEST_CASE("every sampler keeps a point mass on every path and grid, or says that it does not",
                "[samplers][catalog]") {
  int kept = 0, broken = 0;
  for (const auto& entry : all_samplers().entries()) {
    if (!makes_plans(entry) || entry.info.has_trait("needs_timesteps")) continue;
    const bool breaks = entry.info.has_trait("breaks_marginals");
    double worst = 0.0;
    for (const Path* path : standard_paths())
      for (const Grid& grid : grids_for(entry, *path)) {
        CATCH_CAPTURE(entry.info.name, path->name(), grid.size());
        const double error = point_mass_error(make_solver(entry.info.name)(grid));
        if (!breaks) CATCH_CHECK(error < 1e-9);
        worst = std::max(worst, error);
      }
    CATCH_CAPTURE(entry.info.name);
    if (breaks) CATCH_CHECK(worst > 1e-6);
    ++(breaks ? broken : kept);
  }
  CATCH_CHECK(kept >= 50);
  CATCH_CHECK(broken >= 6);
}

CATCH_TEST_CASE("options that keep the marginals keep a point mass, and those that do not are caught", "[samplers]") {
  for (const Path* path : standard_paths())
    for (const Grid& grid : grids_on(*path)) {
      const auto error = [&](const char* name, const char* options) {
        return point_mass_error(make_solver(name, options)(grid));
      };
      CATCH_CAPTURE(path->name(), grid.size());
      for (const char* name : {"ddim", "euler_ancestral", "ddim_cfgpp", "rf_ancestral", "tcd", "dpm2_ancestral",
                               "dpmpp_2s_ancestral", "dpmpp_sde", "dpm_fast"})
        CATCH_CHECK(error(name, "eta: 0.5") < 1e-9);
      for (const char* name : {"euler", "heun", "heunpp2", "dpm2"}) {
        CATCH_CHECK(error(name, "s_churn: 40") < 1e-9);
        CATCH_CHECK(error(name, "s_churn: 40, s_noise: 1.003") > 1e-4);
      }
      for (const char* name : {"euler_ancestral", "dpm2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"})
        CATCH_CHECK(error(name, "s_noise: 1.01") > 1e-4);
      CATCH_CHECK(error("dpmpp_2m", "solver_type: heun") < 1e-9);
      CATCH_CHECK(error("ddim", "eta: 0.5, use_clipped_model_output: false") < 1e-9);
      CATCH_CHECK(error("restart", "repetitions: 3, inner_steps: 2") < 1e-9);
      CATCH_CHECK(error("dpmpp_singlestep", "order: 3, solver_type: heun, tau2: 1") < 1e-9);
      CATCH_CHECK(error("dpm_singlestep", "order: 3, solver_type: heun") < 1e-9);
      CATCH_CHECK(error("bdia", "gamma: 0.5") < 1e-9);
      CATCH_CHECK(error("er_sde", "solver_type: reverse_sde") < 1e-9);
      CATCH_CHECK(error("ddpm", "variance: large") > 1e-4);
      CATCH_CHECK(error("consistency", "sigma_min: 0.5") > 1e-4);
      CATCH_CHECK(error("lcm", "boundary: timestep") > 1e-4);
    }
}

CATCH_TEST_CASE("a sampler is one method whatever path it is written on, or says that it is not",
                "[samplers][catalog]") {
  for (const auto& entry : all_samplers().entries()) {
    if (!makes_plans(entry) || entry.info.has_trait("needs_timesteps")) continue;
    const Solver solver = make_solver(entry.info.name);
    double worst = 0.0;
    for (std::size_t g = 0; g < grids_for(entry, variance_exploding()).size(); ++g)
      for (const Path* path : standard_paths()) {
        const Plan on_path = solver(grids_on(*path)[g]);
        worst = std::max(worst, plan_distance(on_path, solver(grids_on(variance_exploding())[g])));
      }
    CATCH_CAPTURE(entry.info.name);
    if (entry.info.has_trait("path_bound"))
      CATCH_CHECK(worst > 1e-3);
    else
      CATCH_CHECK(worst < 1e-9);  // y = x / alpha reaches 80: 1e-11 of it
  }
}

CATCH_TEST_CASE("methods that are the same have the same normal form", "[samplers][catalog]") {
  for (const Path* path : standard_paths())
    for (const Grid& grid : grids_on(*path)) {
      const auto distance = [&](const char* a, const char* a_options, const char* b, const char* b_options) {
        return plan_distance(make_solver(a, a_options)(grid), make_solver(b, b_options)(grid));
      };
      CATCH_CAPTURE(path->name(), grid.size());
      // Coefficients of order 80 on sigma 80: 1e-12 relative.
      for (const auto& [name, options] :
           std::vector<std::pair<const char*, const char*>>{{"euler", ""},
                                                            {"dpmpp_1s", ""},
                                                            {"euler_ancestral", "eta: 0"},
                                                            {"rf_ancestral", "eta: 0"},
                                                            {"tcd", "eta: 0"},
                                                            {"ctm", "gamma: 0"},
                                                            {"euler_cfgpp", ""},
                                                            {"ddim_cfgpp", ""},
                                                            {"er_sde", "order: 1, solver_type: ode"},
                                                            {"dpmpp_singlestep", "order: 1"},
                                                            {"dpm_singlestep", "order: 1"},
                                                            {"ddim", "use_clipped_model_output: false"}}) {
        CATCH_CAPTURE(name);
        CATCH_CHECK(distance("ddim", "", name, options) < 1e-10);
      }
      for (const char* name : {"euler_ancestral", "ddpm"}) CATCH_CHECK(distance("ddim", "eta: 1", name, "") < 1e-12);
      CATCH_CHECK(distance("ddim", "eta: 1", "dpmpp_singlestep", "order: 1, tau2: 1") < 1e-10);
      CATCH_CHECK(distance("ddim", "eta: 1", "er_sde", "order: 1, solver_type: reverse_sde") < 1e-10);
      CATCH_CHECK(distance("ddim", "eta: 0.5", "ddim_cfgpp", "eta: 0.5") < 1e-10);
      CATCH_CHECK(distance("consistency", "", "lcm", "") < 1e-12);
      CATCH_CHECK(distance("consistency", "", "ctm", "gamma: 1") < 1e-12);
      CATCH_CHECK(distance("consistency", "", "tcd", "eta: 1") < 1e-10);
      CATCH_CHECK(distance("dpm2", "", "dpm_2s", "") < 1e-10);
      CATCH_CHECK(distance("dpm2", "", "dpm2_ancestral", "eta: 0") < 1e-10);
      CATCH_CHECK(distance("dpmpp_2s", "", "dpmpp_2s_ancestral", "eta: 0") < 1e-10);
      CATCH_CHECK(distance("dpmpp_2s", "", "dpmpp_sde", "eta: 0") < 1e-10);
      CATCH_CHECK(distance("dpmpp_2s", "solver_type: heun", "res_2s", "") < 1e-10);
      CATCH_CHECK(distance("heun", "", "restart", "repetitions: 0") < 1e-10);
      CATCH_CHECK(distance("ddim", "", "ddim", "eta: 0.5") > 1e-2);
      CATCH_CHECK(distance("dpmpp_2m", "", "dpmpp_2m", "solver_type: heun") > 1e-3);
      CATCH_CHECK(distance("dpmpp_2s", "", "dpm_2s", "") > 1e-3);
      CATCH_CHECK(distance("er_sde", "", "er_sde_compat", "integrals: exact") > 1e-3);
      CATCH_CHECK(std::isinf(distance("ddim", "", "heun", "")));
    }
}

CATCH_TEST_CASE("cfg++ takes its noise unguided and raw ddim before thresholding, both their data as it is given",
                "[samplers][catalog]") {
  struct Case {
    const char *name, *options;
    OutputKind noise_of;
  };
  const Grid grid = grids_on(variance_preserving())[1];
  for (const Case& one : {Case{"ddim_cfgpp", "", OutputKind::kUnguided}, Case{"euler_cfgpp", "", OutputKind::kUnguided},
                          Case{"ddim", "use_clipped_model_output: false", OutputKind::kRaw}}) {
    CATCH_CAPTURE(one.name);
    const Plan plan = make_solver(one.name, one.options)(grid);
    for (std::size_t i = 0; i < 8; ++i) {  // evaluate, combine, mark
      const auto& e = std::get<Evaluate>(plan.program[3 * i]);
      const auto& c = std::get<Combine>(plan.program[3 * i + 1]);
      CATCH_REQUIRE(e.outputs.size() == 2);
      CATCH_CHECK(e.outputs[0].kind == OutputKind::kData);
      CATCH_CHECK(e.outputs[1].kind == one.noise_of);
      const double shrink = grid[i + 1].sigma / grid[i].sigma;
      for (const Term& term : c.terms) {
        if (term.reg == e.outputs[0].dst) CATCH_CHECK(term.weight == Catch::Approx(grid[i + 1].alpha));
        if (term.reg == e.outputs[1].dst) CATCH_CHECK(term.weight == Catch::Approx(-shrink * grid[i].alpha));
        if (term.reg == e.src) CATCH_CHECK(term.weight == Catch::Approx(shrink));
      }
      CATCH_CHECK(c.terms.size() == 3);
    }
  }
}

CATCH_TEST_CASE("velocity steps are known ones where the path's time is a line", "[samplers][flow]") {
  const auto distance = [](const Grid& grid, const char* a, const char* b) {
    return plan_distance(make_solver(a)(grid), make_solver(b)(grid));
  };
  for (const Grid& grid : grids_on(variance_exploding())) {
    CATCH_CHECK(distance(grid, "flow_euler", "ddim") < 1e-10);
    CATCH_CHECK(distance(grid, "flow_heun", "heun") < 1e-10);
    CATCH_CHECK(distance(grid, "flow_rk4", "rk4") < 1e-10);
  }
  for (const Grid& grid : grids_on(linear_path())) {
    CATCH_CHECK(distance(grid, "flow_euler", "ddim") < 1e-10);
    CATCH_CHECK(distance(grid, "flow_heun", "heun") > 1e-3);
    for (const char* name : {"flow_heun", "flow_rk4"}) CATCH_CHECK(point_mass_error(make_solver(name)(grid)) < 1e-9);
  }
  for (const Grid& grid : grids_on(variance_preserving())) CATCH_CHECK(distance(grid, "flow_euler", "ddim") > 1e-3);
}

namespace {

struct Cell {
  std::string name;
  Grid grid;
  int steps = 0;
};

// Each schedule on two grids and each grid on two schedules, where the grid takes the schedule without options.
std::vector<Cell> schedule_cells() {
  std::vector<Cell> cells;
  std::set<std::string> schedules, grids;
  for (const auto& schedule_entry : all_schedules().entries())
    for (const auto& grid_entry : all_grids().entries()) {
      const std::string &schedule = schedule_entry.info.name, &type = grid_entry.info.name;
      const bool is_plain_schedule = schedule == "linear" || schedule == "flow";
      const bool is_plain_grid = type == "trailing" || type == "karras";
      if ((!is_plain_schedule && !is_plain_grid) || type == "greedy") continue;
      for (int steps : {1, 2, 10})
        for (const char* end : {"final: clean", "final: sigma_min"}) {
          const std::string name = schedule + ", " + type + ", " + end;
          Grid grid;
          if (!message_of([&] { grid = make_grid_on(*make_schedule(schedule), type, steps, end); }).empty()) continue;
          cells.push_back({name, std::move(grid), steps});
          schedules.insert(schedule);
          grids.insert(type);
        }
    }
  // `betas`, `list` and the like need lists of their own.
  CATCH_REQUIRE(schedules.size() + 3 >= all_schedules().names().size());
  CATCH_REQUIRE(grids.size() + 4 >= all_grids().names().size());
  return cells;
}

}  // namespace

CATCH_TEST_CASE("every sampler makes finite plans on every schedule and every grid", "[samplers][catalog]") {
  const std::vector<Cell> cells = schedule_cells();
  for (const auto& entry : all_samplers().entries()) {
    if (!makes_plans(entry)) continue;
    const Solver solver = make_solver(entry.info.name);
    const int each = trait_value(entry.info, "evaluations_per_step", 0);
    const int extra = trait_value(entry.info, "extra_evaluations", 0);
    int made = 0, refused = 0;
    for (const Cell& cell : cells) {
      CATCH_CAPTURE(entry.info.name, cell.name, cell.steps);
      if (entry.info.has_trait("needs_timesteps") && !cell.grid.at_time) continue;
      if (cell.grid.front().alpha == 0.0 && entry.info.has_trait("refuses_alpha_zero")) {
        CATCH_CHECK(has_text(message_of([&] { solver(cell.grid); }), "alpha = 0"));
        ++refused;
        continue;
      }
      const Plan plan = solver(cell.grid);  // finish validates: all weights are finite
      if (!entry.info.has_trait("own_levels")) {
        CATCH_CHECK(plan.steps() == cell.steps);
        CATCH_CHECK(plan.evaluations() >= cell.steps);
      }
      CATCH_CHECK(plan.evaluations() <= cell.steps * each + extra);
      ++made;
    }
    CATCH_CAPTURE(entry.info.name);
    CATCH_CHECK(made > 50);
    // Grids with timesteps and no signal at their start need a table of their own: see the next case.
    if (!entry.info.has_trait("needs_timesteps"))
      CATCH_CHECK((refused > 0) == entry.info.has_trait("refuses_alpha_zero"));
  }
}

CATCH_TEST_CASE("samplers that start without signal forget that node", "[samplers][alpha_zero]") {
  const SchedulePtr table = make_schedule("linear", "zero_terminal_snr: true");
  const Grid grid = make_grid_on(*table, "trailing", 8);
  CATCH_REQUIRE(grid.front().alpha == 0.0);
  const Tableau first = normal_form(make_solver("ddim")(grid));
  int checked = 0;
  for (const auto& entry : all_samplers().entries()) {
    if (!makes_plans(entry) || entry.info.has_trait("refuses_alpha_zero") || entry.info.has_trait("inverts")) continue;
    CATCH_CAPTURE(entry.info.name);
    const Plan plan = make_solver(entry.info.name)(grid);
    if (!entry.info.has_trait("breaks_marginals")) CATCH_CHECK(point_mass_error(plan) < 1e-9);
    ++checked;
  }
  CATCH_CHECK(checked >= 20);
  // The second step of a multistep method must not use the first prediction: its slope over an infinite interval is 0.
  for (const char* name : {"dpmpp_2m", "er_sde"}) {
    const Tableau tableau =
        normal_form(make_solver(name, name == std::string("er_sde") ? "solver_type: ode" : "")(grid));
    CATCH_CHECK(tableau.inputs[2].on_data[0] == Catch::Approx(first.inputs[2].on_data[0]).epsilon(1e-12));
  }
  for (const auto& entry : all_samplers().entries()) {
    if (!makes_plans(entry) || !entry.info.has_trait("refuses_alpha_zero")) continue;
    const std::string &name = entry.info.name, message = message_of([&] { make_solver(name)(grid); });
    CATCH_CAPTURE(message);
    CATCH_CHECK(has_text(message, "sampler \"" + name + "\": cannot"));
    CATCH_CHECK(has_text(message, "alpha = 0"));
  }
}

CATCH_TEST_CASE("steps_within finds the largest plan inside a budget of evaluations", "[samplers][budget]") {
  const GridFactory clean = [](int steps) { return karras_grid(steps, "clean"); };
  for (int budget : {1, 2, 5, 10, 20, 50}) {
    CATCH_CAPTURE(budget);
    CATCH_CHECK(steps_within(make_solver("ddim"), clean, budget) == budget);
    CATCH_CHECK(steps_within(make_solver("dpm_fast"), clean, budget) == budget);
    CATCH_CHECK(steps_within(make_solver("heun"), clean, budget) == (budget + 1) / 2);  // N steps: 2 N - 1
    CATCH_CHECK(steps_within(make_solver("rk4"), clean, budget) == (budget + 3) / 4);
  }
  const GridFactory short_table = [](int steps) {
    return make_grid_on(*make_schedule("linear", "timesteps: 6"), "trailing", steps);
  };
  CATCH_CHECK(steps_within(make_solver("ddim"), short_table, 50) == 6);
  const GridFactory noisy = [](int steps) { return karras_grid(steps); };
  CATCH_CHECK(!steps_within(make_solver("heun"), noisy, 1).has_value());
  const GridFactory list = [](int steps) {
    if (steps != 3) throw ConfigError(concat("the list has 3 steps, got ", steps, "."));
    return karras_grid(steps, "clean");
  };
  CATCH_CHECK(steps_within(make_solver("ddim"), list, 8) == 3);
  CATCH_CHECK(!steps_within(make_solver("heun"), list, 4).has_value());
  CATCH_CHECK(has_text(message_of([&] { steps_within(make_solver("ddim"), list, 2); }), "got 1"));
}

CATCH_TEST_CASE("more steps share the noise of fewer", "[samplers][noise]") {
  // Strong error on one path shrinks as steps grow; with unrelated noise it would stay near 0.7.
  for (const char* name : {"euler_ancestral", "dpmpp_sde", "dpm2_ancestral", "er_sde"}) {
    const auto gap = [&](int steps) {
      const Grid coarse = make_grid_on(*make_schedule("edm"), "uniform_lambda", steps, "final: sigma_min");
      const Grid fine = make_grid_on(*make_schedule("edm"), "uniform_lambda", 16 * steps, "final: sigma_min");
      const Solver solver = make_solver(name);
      return strong_error(solver(coarse), solver(fine), {.mean = 0.0, .variance = 0.25});
    };
    CATCH_CAPTURE(name, gap(16), gap(64));
    CATCH_CHECK(gap(64) < 0.5 * gap(16));
    CATCH_CHECK(gap(64) < 0.1);
  }
}
