// Solvers that run the grid towards noise, and their way back.
#include "tests/catch.h"

#include <cmath>
#include <vector>

#include "core/math/plan_analysis.h"
#include "tests/mixture.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

const Gaussian kHalf{.mean = 0.0, .variance = 0.25};
const std::vector<double> kData{-1.4, -0.9, -0.2, 0.3, 0.8, 1.5};

double largest_gap(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

std::vector<double> run(const std::string& name, const std::string& options, const Grid& grid,
                        const std::vector<double>& x, const HostObserver& observer = {}) {
  return run_on_host(make_solver(name, options)(grid), x, denoise_mixture, {}, observer);
}

Grid grid_of(const std::string& schedule, int steps, const std::string& end) {
  return make_grid_on(*make_schedule(schedule), schedule == "edm" ? "karras" : "trailing", steps, "final: " + end);
}

}  // namespace

CATCH_TEST_CASE("inversions start where sampling ends and end where it starts", "[samplers][inversion]") {
  int checked = 0;
  for (const auto& entry : all_samplers().entries()) {
    if (!entry.info.has_trait("inverts")) continue;
    for (const char* end : {"clean", "sigma_min"}) {
      const Grid grid = grid_of("linear", 7, end);
      const Plan plan = make_solver(entry.info.name)(grid);
      CATCH_CAPTURE(entry.info.name, end);
      CATCH_CHECK(plan.start == grid.back());
      CATCH_CHECK(plan.end == grid.front());
      CATCH_CHECK(plan.steps() == 7);
      ++checked;
    }
  }
  CATCH_CHECK(checked == 2 * 4);
}

CATCH_TEST_CASE("exact inversions return the data of a nonlinear denoiser", "[samplers][inversion]") {
  struct Case {
    const char *name, *options, *schedule;
    double tolerance = 1e-12;
  };
  // edict divides by alpha: 0.07 at the first level of scaled_linear, 0.006 of linear (largest gap 1e-11).
  for (const Case& one : {Case{"edict_inversion", "", "scaled_linear"}, Case{"edict_inversion", "", "linear", 1e-10},
                          Case{"edict_inversion", ", p: 0.8, alternate: false", "scaled_linear"},
                          Case{"bdia_inversion", "", "linear"}, Case{"bdia_inversion", "", "cosine"},
                          Case{"bdia_inversion", "", "flow"}, Case{"bdia_inversion", ", gamma: 1", "linear"}})
    for (const char* end : {"clean", "sigma_min"})
      for (int steps : {2, 10}) {
        const Grid grid = grid_of(one.schedule, steps, end);
        CATCH_CAPTURE(one.name, one.options, one.schedule, end, steps);
        std::vector<double> top;
        const auto back = run(one.name, std::string("round_trip: true") + one.options, grid, kData,
                              [&](const Mark& mark, std::span<const double> x) {
                                if (mark.level == grid.front()) top.assign(x.begin(), x.end());
                              });
        CATCH_CHECK(largest_gap(back, kData) < one.tolerance);
        // The way leads through noise: the state at the top is the inversion's and not the data.
        CATCH_REQUIRE(top.size() == kData.size());
        CATCH_CHECK(largest_gap(top, kData) > 1e-2);
      }
}

CATCH_TEST_CASE("the round trip goes up by the inversion and down by the sampler's own steps",
                "[samplers][inversion]") {
  const Grid grid = grid_of("linear", 6, "clean");
  for (const char* name : {"edict", "bdia"}) {
    const Plan trip = make_solver(std::string(name) + "_inversion", "round_trip: true")(grid);
    const Plan up = make_solver(std::string(name) + "_inversion")(grid), down = make_solver(name)(grid);
    CATCH_CAPTURE(name);
    CATCH_CHECK(trip.start == grid.back());
    CATCH_CHECK(trip.end == grid.back());
    CATCH_CHECK(trip.steps() == 12);
    std::vector<std::vector<double>> on_trip, on_up;
    const auto into = [](auto& list) {
      return [&list](const Mark&, std::span<const double> x) { list.emplace_back(x.begin(), x.end()); };
    };
    run_on_host(trip, kData, denoise_mixture, {}, into(on_trip));
    run_on_host(up, kData, denoise_mixture, {}, into(on_up));
    for (std::size_t i = 0; i < on_up.size(); ++i) CATCH_CHECK(on_trip[i] == on_up[i]);
    CATCH_CHECK(down.steps() == 6);
  }
}

CATCH_TEST_CASE("bdia inversion undoes the sampler where ddim itself is exact", "[samplers][inversion]") {
  // On a point mass every step is exact, so that the pair of states is known from one of them.
  const HostDenoiser point = [](std::span<const double> x, const Level&) { return std::vector<double>(x.size(), 0.3); };
  const Grid grid = grid_of("linear", 5, "sigma_min");
  const std::vector<double> start{-1.0, 0.5, 2.0};
  const auto data = run_on_host(make_solver("bdia")(grid), start, point);
  CATCH_CHECK(largest_gap(run_on_host(make_solver("bdia_inversion")(grid), data, point), start) < 1e-12);
}

CATCH_TEST_CASE("ddim inversion returns to the data with the order of its steps", "[samplers][inversion]") {
  // Gain of inversion and sampling less 1 on N(0, 0.25), Karras 80 -> 0.002, of an independent recursion.
  const double expected[] = {-4.333e-1, -2.473e-1, -1.074e-1, -5.525e-2, -2.802e-2};
  const int counts[] = {10, 20, 50, 100, 200};
  for (int i = 0; i < 5; ++i) {
    const Grid grid = karras_grid(counts[i]);
    const double gain = gaussian_moments(make_solver("ddim_inversion")(grid), kHalf).output.gain *
                        gaussian_moments(make_solver("ddim")(grid), kHalf).output.gain;
    CATCH_CAPTURE(counts[i], gain - 1.0);
    CATCH_CHECK(gain - 1.0 == Catch::Approx(expected[i]).epsilon(1e-3));
  }
}

CATCH_TEST_CASE("the released form of ddim inversion asks the next level about this state", "[samplers][inversion]") {
  const Grid grid = grid_of("linear", 8, "sigma_min");
  for (const char* prediction : {"noise", "data", "v"}) {
    const Tableau tableau =
        normal_form(make_solver("ddim_inversion", std::string("form: diffusers, prediction: ") + prediction)(grid));
    for (std::size_t i = 0; i < 8; ++i) CATCH_CHECK(tableau.lambdas[i] == grid[7 - i].lambda());
  }
  // A prediction of noise: x_b = (alpha_b / alpha_a)(x - sigma_a eps) + sigma_b eps, eps by the scalings of b.
  const Grid step = make_grid(variance_preserving(), {grid[3], grid[4]});
  const Level a = step[1], b = step[0];
  const Tableau tableau = normal_form(make_solver("ddim_inversion", "form: diffusers")(step));
  const double eps_x = 1.0 / b.sigma, eps_d = -b.alpha / b.sigma, ratio = b.alpha / a.alpha;
  const double on_x = ratio + (b.sigma - ratio * a.sigma) * eps_x, on_d = (b.sigma - ratio * a.sigma) * eps_d;
  CATCH_CHECK(tableau.output.on_input == Catch::Approx(on_x * a.alpha / b.alpha).epsilon(1e-12));
  CATCH_CHECK(tableau.output.on_data[0] == Catch::Approx(on_d / b.alpha).epsilon(1e-12));
  CATCH_CHECK(has_text(message_of([] {
                         make_solver("ddim_inversion",
                                     "form: diffusers, prediction: data")(grid_of("linear", 8, "clean"));
                       }),
                       "divides by sigma = 0"));
}

CATCH_TEST_CASE("fixed-point inversion undoes ddim as its iterations grow", "[samplers][inversion]") {
  // Near the modes: between them the noise estimate falls steeper than the iteration contracts.
  const std::vector<double> data{-1.2, -0.9, 0.6, 1.0};
  for (const char* end : {"clean", "sigma_min"}) {
    const Grid grid = grid_of("linear", 20, end);
    std::vector<double> gaps;
    for (int iterations : {1, 4, 400}) {
      const auto noise = run("fixed_point_inversion", "iterations: " + std::to_string(iterations), grid, data);
      gaps.push_back(largest_gap(run("ddim", "", grid, noise), data));
    }
    CATCH_CAPTURE(end, gaps[0], gaps[1], gaps[2]);
    CATCH_CHECK(gaps[1] < gaps[0]);
    CATCH_CHECK(gaps[2] < 1e-10);
    CATCH_CHECK(gaps[1] > 1e-6);
  }
}
