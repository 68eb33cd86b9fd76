#include "tests/catch.h"

#include <vector>

#include "core/math/plan_analysis.h"
#include "tests/plans.h"
#include "tests/samplers_plans/rows.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

const Gaussian kHalf{.mean = 0.0, .variance = 0.25};

double table_error(const std::string& sampler, const std::string& options, const std::string& grid, int steps) {
  const SchedulePtr table = make_schedule("linear");
  // Runs start from N(0, 1), which is not quite the marginal at the first timestep.
  return variance_error(make_solver(sampler, options)(make_grid_on(*table, grid, steps)), kHalf, 1.0);
}

}  // namespace

CATCH_TEST_CASE("stochastic samplers have the exact variance of an independent recursion", "[samplers][variance]") {
  const int counts[] = {10, 20, 50, 100, 250, 1000};
  CATCH_REQUIRE(kVarianceRows.size() == 21);
  for (const VarianceRow& row : kVarianceRows)
    for (std::size_t i = 0; i < row.errors.size(); ++i) {
      CATCH_CAPTURE(row.sampler, row.options, counts[i]);
      const Plan plan = make_solver(row.sampler, row.options)(karras_grid(counts[i]));
      CATCH_CHECK(variance_error(plan, kHalf) == Catch::Approx(row.errors[i]).epsilon(1e-3));
    }
}

CATCH_TEST_CASE("ddim on the linear table has the exact variance of each spacing", "[samplers][variance]") {
  struct Row {
    int steps;
    double leading, trailing, linspace, leading_eta;
  };
  for (const Row& row : {Row{10, -4.4011e-1, -4.5253e-1, -4.7695e-1, -5.5574e-1},
                         Row{20, -2.4750e-1, -2.5569e-1, -2.5885e-1, -3.8702e-1},
                         Row{50, -1.0721e-1, -1.1112e-1, -1.0918e-1, -2.1102e-1},
                         Row{100, -5.5292e-2, -5.7364e-2, -5.5808e-2, -1.2295e-1},
                         Row{1000, -6.0098e-3, -6.0098e-3, -6.0098e-3, -1.5499e-2}}) {
    CATCH_CAPTURE(row.steps);
    CATCH_CHECK(table_error("ddim", "", "leading", row.steps) == Catch::Approx(row.leading).epsilon(1e-4));
    CATCH_CHECK(table_error("ddim", "", "trailing", row.steps) == Catch::Approx(row.trailing).epsilon(1e-4));
    CATCH_CHECK(table_error("ddim", "", "linspace", row.steps) == Catch::Approx(row.linspace).epsilon(1e-4));
    CATCH_CHECK(table_error("ddim", "eta: 1", "leading", row.steps) == Catch::Approx(row.leading_eta).epsilon(1e-4));
  }
}

CATCH_TEST_CASE("ddpm with 1000 timesteps has its two known variances", "[samplers][variance]") {
  CATCH_CHECK(table_error("ddpm", "variance: small", "trailing", 1000) == Catch::Approx(-1.549915e-2).epsilon(1e-6));
  CATCH_CHECK(table_error("ddpm", "variance: large", "trailing", 1000) == Catch::Approx(3.008300e-3).epsilon(1e-6));
}

CATCH_TEST_CASE("flow euler has the exact variance of the straight line", "[samplers][variance]") {
  const double expected[] = {-5.361e-1, -3.118e-1, -1.694e-1, -8.850e-2, -4.525e-2, -2.289e-2};
  const SchedulePtr flow = make_schedule("flow");
  for (int i = 0; i < 6; ++i)
    for (const char* name : {"euler", "ddim"}) {
      const Plan plan = make_solver(name)(make_grid_on(*flow, "trailing", 4 << i));
      CATCH_CAPTURE(name, 4 << i);
      CATCH_CHECK(variance_error(plan, kHalf) == Catch::Approx(expected[i]).epsilon(1e-3));
    }
}

CATCH_TEST_CASE("flow heun has the variances of both rules for the clean level", "[samplers][variance]") {
  const double limit[] = {1.943e-2, 9.790e-3, 3.058e-3, 8.402e-4, 2.195e-4, 5.605e-5};
  const double euler[] = {-2.510e-1, -5.865e-2, -1.345e-2, -3.183e-3, -7.721e-4, -1.900e-4};
  const double shifted[] = {-1.744e-1, -5.682e-2, -9.960e-3, -1.722e-3, -3.213e-4, -6.590e-5};
  const auto error = [](const char* rule, const char* schedule, int steps) {
    return variance_error(
        make_solver("flow_heun", rule)(make_grid_on(*make_schedule("flow", schedule), "trailing", steps)), kHalf);
  };
  for (int i = 0; i < 6; ++i) {
    CATCH_CAPTURE(4 << i);
    CATCH_CHECK(error("clean: limit", "", 4 << i) == Catch::Approx(limit[i]).epsilon(1e-3));
    CATCH_CHECK(error("clean: euler", "", 4 << i) == Catch::Approx(euler[i]).epsilon(1e-3));
    CATCH_CHECK(error("clean: limit", "shift: 3", 4 << i) == Catch::Approx(shifted[i]).epsilon(1e-3));
  }
}

CATCH_TEST_CASE("few-step samplers with an exact denoiser lose variance as known", "[samplers][variance]") {
  const double consistency[] = {-8.779e-1, -7.308e-1, -6.418e-1, -5.834e-1};
  const double half[] = {-7.941e-1, -5.401e-1, -3.449e-1, -2.205e-1};
  for (int i = 0; i < 4; ++i) {
    CATCH_CAPTURE(4 << i);
    const Grid grid = karras_grid(4 << i);
    for (const char* name : {"consistency", "lcm"})
      CATCH_CHECK(variance_error(make_solver(name)(grid), kHalf) == Catch::Approx(consistency[i]).epsilon(1e-3));
    CATCH_CHECK(variance_error(make_solver("ctm", "gamma: 0.5")(grid), kHalf) == Catch::Approx(half[i]).epsilon(1e-3));
  }
}

CATCH_TEST_CASE("restart has the variance of an independent recursion", "[samplers][variance]") {
  const double expected[] = {1.422e-1, 1.312e-1, 1.286e-1, 1.274e-1};
  for (int i = 0; i < 4; ++i) {
    const int steps = 4 << i;
    const Grid grid = karras_grid(steps);
    const std::string options = "repetitions: 2, inner_steps: 4, rho_low: " +
                                std::to_string(grid[static_cast<std::size_t>(3 * steps / 4)].rho()) +
                                ", rho_high: " + std::to_string(grid[static_cast<std::size_t>(steps / 2)].rho());
    CATCH_CAPTURE(steps, options);
    CATCH_CHECK(variance_error(make_solver("restart", options)(grid), kHalf) ==
                Catch::Approx(expected[i]).epsilon(1e-3));
  }
}

CATCH_TEST_CASE("inverting and sampling again by ddim shrinks as known", "[samplers][variance]") {
  const std::vector<std::pair<int, double>> rows{
      {10, -4.333e-1}, {20, -2.473e-1}, {50, -1.074e-1}, {100, -5.525e-2}, {200, -2.802e-2}};
  for (const auto& [steps, expected] : rows) {
    const Grid grid = karras_grid(steps);
    const double up = gaussian_moments(make_solver("ddim_inversion")(grid), kHalf).output.gain;
    const double down = gaussian_moments(make_solver("ddim")(grid), kHalf).output.gain;
    CATCH_CAPTURE(steps);
    CATCH_CHECK(up * down - 1.0 == Catch::Approx(expected).epsilon(1e-3));
  }
}

CATCH_TEST_CASE("ddim and ddpm follow the exact variance recursion of their own steps", "[samplers][variance]") {
  const Gaussian data{.mean = 1.5, .variance = 0.09};
  const SchedulePtr table = make_schedule("linear");
  const Grid grid = make_grid_on(*table, "trailing", 10);
  for (const char* name : {"ddim", "ddpm"}) {
    const PlanMoments moments = gaussian_moments(make_solver(name)(grid), data);
    double variance = 1.0, mean = 0.0;
    for (std::size_t i = 0; i < 10; ++i) {
      const Level s = grid[i], t = grid[i + 1];
      const double k = s.alpha * 0.09 / (s.alpha * s.alpha * 0.09 + s.sigma * s.sigma);
      const bool is_ddpm = std::string(name) == "ddpm";
      const double ratio = s.alpha / t.alpha;
      // Posterior variance in its textbook form, Ho et al. 2020, eq. 7.
      const double fresh = is_ddpm ? t.sigma * t.sigma / (s.sigma * s.sigma) * (1.0 - ratio * ratio) : 0.0;
      const double direct = std::sqrt(std::max(0.0, t.sigma * t.sigma - fresh));
      const auto step = [&](double x, double d) { return t.alpha * d + direct * (x - s.alpha * d) / s.sigma; };
      const double gain = step(1.0, k);
      mean = gain * mean + step(0.0, 1.5 * (1.0 - k * s.alpha));
      variance = gain * gain * variance + fresh;
      CATCH_CAPTURE(name, i);
      CATCH_CHECK(moments.marks[i].mean(0.0) == Catch::Approx(mean).epsilon(1e-11).margin(1e-12));
      CATCH_CHECK(moments.marks[i].variance(1.0) == Catch::Approx(variance).epsilon(1e-11));
    }
  }
}
