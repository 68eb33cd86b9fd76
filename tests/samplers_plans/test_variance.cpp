#include "tests/catch.h"

#include <vector>

#include "core/math/plan_analysis.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

const Gaussian kHalf{.mean = 0.0, .variance = 0.25};

struct VarianceRow {
  std::string sampler, options;
  std::vector<double> errors;  // relative, N = 10, 20, 50, 100, 250, 1000
};

// Karras rho 7, 80 -> 0.002, N(0, 0.25), from the exact marginal; computed by variance recursions in float64 Python.
const std::vector<VarianceRow> kKarras{
    {"ddim", "eta: 1", {-6.114e-1, -4.135e-1, -2.061e-1, -1.118e-1, -4.705e-2, -1.207e-2}},
    {"heun", "s_churn: 40, s_tmin: 0.05, s_tmax: 50", {7.257e-1, 2.030e-1, 5.554e-2, 2.421e-2, 4.129e-3, 2.692e-4}},
    {"heun",
     "s_churn: 40, s_tmin: 0.05, s_tmax: 50, s_noise: 1.003",
     {7.358e-1, 2.103e-1, 6.188e-2, 3.037e-2, 1.016e-2, 6.280e-3}},
};

double table_error(const std::string& sampler, const std::string& options, const std::string& grid, int steps) {
  const SchedulePtr table = make_schedule("linear");
  // Runs start from N(0, 1), which is not quite the marginal at the first timestep.
  return variance_error(make_solver(sampler, options)(make_grid_on(*table, grid, steps)), kHalf, 1.0);
}

}  // namespace

CATCH_TEST_CASE("stochastic samplers have the exact variance of an independent recursion", "[samplers][variance]") {
  const int counts[] = {10, 20, 50, 100, 250, 1000};
  for (const VarianceRow& row : kKarras)
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

CATCH_TEST_CASE("consistency sampling with an exact denoiser loses variance as known", "[samplers][variance]") {
  const double expected[] = {-8.779e-1, -7.308e-1, -6.418e-1, -5.834e-1};
  for (int i = 0; i < 4; ++i) {
    CATCH_CAPTURE(4 << i);
    CATCH_CHECK(variance_error(make_solver("consistency")(karras_grid(4 << i)), kHalf) ==
                Catch::Approx(expected[i]).epsilon(1e-3));
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
