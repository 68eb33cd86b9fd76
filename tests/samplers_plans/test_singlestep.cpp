// Singlestep solvers: levels between those of the grid, and the grid's own levels as stages.
#include "tests/catch.h"

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "core/math/plan_analysis.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

const Gaussian kHalf{.mean = 0.0, .variance = 0.25};

Grid even_lambda(const Path& path, int steps, double low = -3.0, double high = 4.5) {
  std::vector<Level> levels;
  for (int i = 0; i <= steps; ++i) levels.push_back(path.at(low + (high - low) * i / steps));
  return make_grid(path, levels);
}

Plan plan_of(const std::string& name, const std::string& options, const Grid& grid) {
  return make_solver(name, options)(grid);
}

// Rows of two plans with the same evaluations, compared where both stand: the output only.
double output_gap(const Plan& a, const Plan& b) {
  const Row x = normal_form(a).output, y = normal_form(b).output;
  double worst = std::abs(x.on_input - y.on_input);
  CATCH_REQUIRE(x.on_data.size() == y.on_data.size());
  for (std::size_t i = 0; i < x.on_data.size(); ++i) worst = std::max(worst, std::abs(x.on_data[i] - y.on_data[i]));
  return worst;
}

}  // namespace

CATCH_TEST_CASE("singlestep on the grid's levels is off-grid singlestep on every second or third of them",
                "[samplers][singlestep]") {
  for (const Path* path : standard_paths()) {
    CATCH_CAPTURE(path->name());
    for (const char* type : {"midpoint", "heun"})
      for (const auto& [on_grid, off_2, off_3] :
           {std::array{"dpmpp_singlestep", "dpmpp_2s", "dpmpp_3s"}, std::array{"dpm_singlestep", "dpm_2s", "dpm_3s"}}) {
        const std::string options = std::string("solver_type: ") + type;
        CATCH_CAPTURE(on_grid, type);
        CATCH_CHECK(plan_distance(plan_of(on_grid, options, even_lambda(*path, 12)),
                                  plan_of(off_2, options, even_lambda(*path, 6))) < 1e-10);
        // The second stage of the grid's own cycle is the order 2 update of the type asked for; off the grid always
        // heun.
        if (type == std::string("midpoint")) continue;
        CATCH_CHECK(plan_distance(plan_of(on_grid, options + ", order: 3", even_lambda(*path, 12)),
                                  plan_of(off_3, options, even_lambda(*path, 4))) < 1e-10);
      }
  }
}

CATCH_TEST_CASE("the cycle of orders ends as asked and as the number of steps allows", "[samplers][singlestep]") {
  // The order of step i is one more than the levels that its state goes back: read off as the fewest plain steps
  // whose noise the SDE form renews. Lengths of the noise intervals, in levels, of each step:
  const auto lengths = [](int steps, const std::string& options, bool ends_clean) {
    Grid grid = even_lambda(variance_exploding(), steps - (ends_clean ? 1 : 0), 0.0, 1.0);
    const double unit = grid[1].lambda() - grid[0].lambda();
    if (ends_clean) {
      grid.levels.push_back({1.0, 0.0});
      grid.times.push_back(0.0);
    }
    std::vector<int> found;
    for (const Instruction& instruction : plan_of("dpmpp_singlestep", "tau2: 1, " + options, grid).program)
      if (const auto* c = std::get_if<Combine>(&instruction))
        found.push_back(
            c->noise.empty() ? 0 : static_cast<int>(std::lround((c->noise[0].draw.to - c->noise[0].draw.from) / unit)));
    return found;
  };
  using Orders = std::vector<int>;
  CATCH_CHECK(lengths(6, "order: 3", false) == Orders{1, 2, 3, 1, 2, 3});
  CATCH_CHECK(lengths(7, "order: 3", false) == Orders{1, 2, 3, 1, 2, 3, 1});
  CATCH_CHECK(lengths(8, "order: 3", false) == Orders{1, 2, 3, 1, 2, 3, 1, 2});
  CATCH_CHECK(lengths(6, "order: 3, lower_order_final: always", false) == Orders{1, 2, 3, 1, 2, 1});
  CATCH_CHECK(lengths(6, "order: 2", false) == Orders{1, 2, 1, 2, 1, 2});
  CATCH_CHECK(lengths(6, "order: 2, lower_order_final: always", false) == Orders{1, 2, 1, 2, 1, 1});
  CATCH_CHECK(lengths(5, "order: 2", false) == Orders{1, 2, 1, 2, 1});
  CATCH_CHECK(lengths(3, "order: 1", false) == Orders{1, 1, 1});
  // Into the clean level order 1, without noise.
  CATCH_CHECK(lengths(6, "order: 3", true) == Orders{1, 2, 3, 1, 2, 0});
}

CATCH_TEST_CASE("orders on every solver type and stage are those of the papers", "[samplers][singlestep][order]") {
  struct Case {
    const char *name, *options;
    double order;
  };
  for (const Case& one :
       {Case{"dpmpp_2s", "solver_type: heun", 2}, Case{"dpmpp_2s", "r1: 0.3", 2},
        Case{"dpmpp_3s", "solver_type: heun", 3}, Case{"dpmpp_3s", "r1: 0.25, r2: 0.6666666666666666", 3},
        Case{"dpm_3s", "solver_type: heun", 3}, Case{"res_2s", "c2: 0.3", 2}, Case{"res_3s", "c2: 0.4, c3: 0.9", 3},
        Case{"dpmpp_singlestep", "order: 3, solver_type: heun", 3},
        Case{"dpm_singlestep", "order: 3, solver_type: heun", 3}}) {
    std::vector<double> steps, errors;
    for (int n : {96, 192, 384}) {
      steps.push_back(n);
      errors.push_back(gain_error(plan_of(
          one.name, one.options, make_grid_on(*make_schedule("edm"), "uniform_lambda", n, "final: sigma_min"))));
    }
    CATCH_CAPTURE(one.name, one.options, errors[0], errors[2]);
    CATCH_CHECK(order_slope(steps, errors) == Catch::Approx(one.order).margin(0.15));
  }
}

CATCH_TEST_CASE("the sign that diffusers has wrong keeps the variance wrong at any number of steps",
                "[samplers][singlestep]") {
  // Each cycle adds a second difference of noisy predictions; in the multistep form those telescope, here not.
  const auto error = [](int steps, const std::string& compat) {
    const std::string options = "order: 3, solver_type: heun, tau2: 1, compat: " + compat;
    return std::abs(variance_error(plan_of("dpmpp_singlestep", options, karras_grid(steps)), kHalf));
  };
  for (int n : {60, 240, 960}) CATCH_CHECK(error(n, "diffusers") > 10.0);
  CATCH_CHECK(error(240, "none") < 0.1 * error(60, "none"));
  CATCH_CHECK(has_text(message_of([] { make_solver("dpmpp_singlestep", "order: 2, compat: diffusers"); }),
                       "diffusers has a fault only with order 3"));
}

CATCH_TEST_CASE("dpm_fast spends what the grid has steps, even in lambda between its noisy ends",
                "[samplers][singlestep]") {
  for (const char* end : {"sigma_min", "clean"})
    for (int n : {1, 2, 3, 4, 5, 6, 7, 20}) {
      const Grid grid = karras_grid(n, end);
      const Plan plan = plan_of("dpm_fast", "", grid);
      CATCH_CAPTURE(end, n);
      CATCH_CHECK(plan.evaluations() == n);
      CATCH_CHECK(plan.end == grid.back());
    }
  // 5 evaluations: orders 3 and 2, stages at thirds and halves of two equal steps.
  const Grid grid = even_lambda(variance_exploding(), 5, 0.0, 6.0);
  const Tableau tableau = normal_form(plan_of("dpm_fast", "", grid));
  const std::vector<double> expected{0.0, 1.0, 2.0, 3.0, 4.5};
  for (std::size_t i = 0; i < expected.size(); ++i)
    CATCH_CHECK(tableau.lambdas[i] == Catch::Approx(expected[i]).margin(1e-12));
}

CATCH_TEST_CASE("restart repeats its interval as told and gains less each time", "[samplers][restart]") {
  // Heun from 80 to 0.002 at n / 2 and up again from 3 n / 4: variance errors of an independent recursion.
  const double expected[] = {1.422e-1, 1.312e-1, 1.286e-1, 1.274e-1};
  for (int i = 0; i < 4; ++i) {
    const int n = 4 << i;
    const Grid grid = karras_grid(n);
    const std::string options = "rho_low: " + std::to_string(grid[3 * n / 4].rho()) +
                                ", rho_high: " + std::to_string(grid[n / 2].rho()) + ", repetitions: 2, inner_steps: 4";
    const Plan plan = plan_of("restart", options, grid);
    CATCH_CAPTURE(n, options);
    CATCH_CHECK(plan.evaluations() == 2 * n + 2 * 4 * 2);
    CATCH_CHECK(variance_error(plan, kHalf) == Catch::Approx(expected[i]).epsilon(1e-3));
  }
  // Where the grid has no two levels for it, nothing is repeated.
  CATCH_CHECK(plan_of("restart", "", karras_grid(1)).evaluations() == 2);
  CATCH_CHECK(has_text(message_of([] { make_solver("restart", "rho_low: 3, rho_high: 2"); }),
                       "must be below rho_high (2), got 3"));
}

CATCH_TEST_CASE("options that contradict each other are refused with their values", "[samplers][singlestep]") {
  CATCH_CHECK(
      has_text(message_of([] { make_solver("dpmpp_3s", "r1: 0.7, r2: 0.5"); }), "must be below r2 (0.5), got 0.7"));
  CATCH_CHECK(has_text(message_of([] { make_solver("res_3s", "c2: 0.6666666666666666"); }), "gives no third order"));
}

CATCH_TEST_CASE("a learned variance lies between the two fixed ones", "[samplers][variance]") {
  for (const char* end : {"clean", "sigma_min"}) {
    const Grid grid = make_grid_on(*make_schedule("linear"), "trailing", 12, std::string("final: ") + end);
    const Plan learned = plan_of("ddpm", "variance: learned", grid);
    CATCH_CAPTURE(end);
    CATCH_CHECK(output_gap(with_fixed_variance(learned, -1.0), plan_of("ddpm", "", grid)) < 1e-12);
    for (const auto& [v, name] : {std::pair{-1.0, "small"}, {1.0, "large"}})
      CATCH_CHECK(normal_form(with_fixed_variance(learned, v)).noise_variance() ==
                  Catch::Approx(normal_form(plan_of("ddpm", std::string("variance: ") + name, grid)).noise_variance())
                      .epsilon(1e-12));
  }
}
