#include "tests/catch.h"

#include <cmath>
#include <string>
#include <vector>

#include "core/math/certificate.h"
#include "core/math/gaussian_machine.h"
#include "core/math/mixture.h"
#include "core/math/phi.h"
#include "core/math/plan_builder.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

// Exponential Adams-Bashforth of order 2 in the data, with one fault at a time.
struct Faults {
  double slope_sign = 1.0;
  double noise = 0.0;               // added without taking it from the predicted noise
  bool asks_twice = false;          // an evaluation that nothing needs
  bool uses_absolute_step = false;  // a coefficient in sigma where one in lambda belongs
};

PlanMaker two_step(const Faults& faults) {
  return [faults](const Grid& grid) {
    Builder b(grid);
    Reg x = b.input(), previous = kNoReg;
    for (std::size_t i = 0; i < grid.steps(); ++i) {
      const Level &s = grid[i], &t = grid[i + 1];
      const Reg d = b.evaluate(x, s);
      if (faults.asks_twice) b.evaluate(x, s);
      const double h = t.lambda() - s.lambda();
      Expr data = -std::expm1(-h) * Expr(d);
      if (i > 0 && !t.is_clean()) {
        const double back = s.lambda() - grid[i - 1].lambda();
        data += (faults.slope_sign * h * phi(2, -h) * h / back) * (Expr(d) - previous);
      }
      const double shrink = faults.uses_absolute_step ? std::exp(-h) : t.sigma / s.sigma;
      x = b.combine(shrink * x + t.alpha * data, b.noise(s, t, faults.noise * t.sigma));
      b.mark(x, t);
      previous = d;
    }
    return b.finish(x);
  };
}

constexpr Claims kSecond{.order = 2, .evaluations_per_step = 1};

}  // namespace

CATCH_TEST_CASE("a right solver with right claims has a certificate", "[math][certificate]") {
  const Certificate c = certify(two_step({}), kSecond);
  CATCH_CAPTURE(c.failures.empty() ? "" : c.failures.front());
  CATCH_CHECK(c.passes());
  CATCH_CHECK(!c.is_stochastic);
  CATCH_CHECK(c.evaluations == 20);
  CATCH_CHECK(c.registers == 3);
  CATCH_CHECK(c.bodies == 1);
  CATCH_CHECK(c.exactness.degree == 1);
  CATCH_CHECK(c.exactness.family == "data in lambda");
  CATCH_CHECK(c.point_mass < 1e-12);
  CATCH_CHECK(c.path_gap < 1e-11);
  for (const double slope :
       {c.order.karras, c.order.uniform_lambda, c.order.line_mixture, c.order.plane_mixture, c.order.prescribed})
    CATCH_CHECK(slope == Catch::Approx(2.0).margin(0.15));
}

CATCH_TEST_CASE("a flipped sign, a wrong order, a call too many and lost marginals each fail for their reason",
                "[math][certificate]") {
  const auto only_failure = [](const Faults& faults, const Claims& claims) {
    const Certificate c = certify(two_step(faults), claims);
    CATCH_REQUIRE(c.failures.size() >= 1);
    return c.failures.front();
  };
  CATCH_CHECK(has_text(only_failure({.slope_sign = -1.0}, kSecond), "order: claims 2, measured"));
  CATCH_CHECK(has_text(only_failure({}, {.order = 3}), "order: claims 3, measured"));
  CATCH_CHECK(has_text(only_failure({}, {.order = 1}), "order: claims 1, measured"));
  CATCH_CHECK(only_failure({.asks_twice = true}, kSecond) == "evaluations: claims 20 for 20 steps, makes 40");
  CATCH_CHECK(only_failure({}, {.order = 2, .extra_evaluations = 1}) ==
              "evaluations: claims 21 for 20 steps, makes 20");
  CATCH_CHECK(has_text(only_failure({.noise = 0.1}, kSecond), "point mass: off by"));
  CATCH_CHECK(has_text(only_failure({}, {.order = 2, .breaks_marginals = true}), "point mass: claims to differ"));
  CATCH_CHECK(has_text(only_failure({}, {.order = 2, .is_path_bound = true}), "normal forms on three paths: claims"));
  // On the variance-exploding path sigma ratios and e^-h are one; on the others they are not.
  CATCH_CHECK(has_text(only_failure({.uses_absolute_step = true}, kSecond), "point mass: off by"));
}

CATCH_TEST_CASE("a third order that is exact to degree 1 fails on given predictions too", "[math][certificate]") {
  const Certificate c = certify(two_step({}), {.order = 3});
  CATCH_REQUIRE(c.failures.size() == 2);
  CATCH_CHECK(has_text(c.failures[1], "integrates degree 1 exactly"));
}

CATCH_TEST_CASE("an order that the entry owns up to is a finding, and fails when it is not measured",
                "[math][certificate]") {
  const auto owning = [](int claim, double owned) {
    return certify(two_step({}), {.order = claim, .owned_order = owned, .reason = "two nodes"});
  };
  const Certificate found = owning(3, 2.0);
  CATCH_CHECK(found.passes());
  CATCH_REQUIRE(found.findings.size() == 1);
  CATCH_CHECK(found.findings[0].property == "order");
  CATCH_CHECK(found.findings[0].claimed == "3");
  CATCH_CHECK(has_text(found.findings[0].measured, "2"));
  CATCH_CHECK(found.findings[0].because == "two nodes");
  CATCH_CHECK(certify(two_step({}), kSecond).findings.empty());
  const auto only_failure = [](const Certificate& c) {
    CATCH_CHECK(c.findings.empty());
    CATCH_REQUIRE(c.failures.size() >= 1);
    return c.failures.front();
  };
  CATCH_CHECK(has_text(only_failure(owning(3, 2.3)), "order: owns up to 2.3, measured"));
  CATCH_CHECK(has_text(only_failure(owning(3, kDiverges)), "order: owns up to diverges, measured"));
  CATCH_CHECK(has_text(only_failure(owning(2, 1.5)), "order: claims 2, owns up to 1.5, has what it claims"));
}

CATCH_TEST_CASE("a lost point mass that is claimed is a finding, not so on one path alone", "[math][certificate]") {
  const Certificate c = certify(two_step({.noise = 0.1}), {.order = 0, .breaks_marginals = true, .reason = "noise"});
  CATCH_REQUIRE(c.findings.size() == 1);
  CATCH_CHECK(c.findings[0].property == "point mass");
  CATCH_CHECK(c.findings[0].because == "noise");
  const Certificate bound =
      certify(two_step({.uses_absolute_step = true}), {.order = 0, .breaks_marginals = true, .is_path_bound = true});
  CATCH_CHECK(bound.passes());
  CATCH_CHECK(bound.findings.empty());
}

CATCH_TEST_CASE("slopes do not depend on the claim", "[math][certificate]") {
  const Certificate known = certify(two_step({}), kSecond);
  for (const int claim : {0, 1, 3, 4}) {
    const Certificate c = certify(two_step({}), {.order = claim});
    CATCH_CAPTURE(claim);
    CATCH_CHECK(c.order.karras == known.order.karras);
    CATCH_CHECK(c.order.uniform_lambda == known.order.uniform_lambda);
    CATCH_CHECK(c.order.line_mixture == known.order.line_mixture);
    CATCH_CHECK(c.order.plane_mixture == known.order.plane_mixture);
    CATCH_CHECK(c.order.left_out == known.order.left_out);
  }
}

CATCH_TEST_CASE("a machine on Gaussian data has the moments that the plan has", "[math][machine]") {
  const Grid grid = probe_grid(variance_preserving(), ProbeGrid::kKarras, 8);
  const Gaussian data{.mean = 0.0, .variance = 0.25};
  const MachineMethod method = [&grid](Machine& machine, Reg x) {
    for (std::size_t i = 0; i < grid.steps(); ++i) {
      const Level &s = grid[i], &t = grid[i + 1];
      const Reg d = machine.evaluate(x, s);
      x = machine.combine(0.9 * Expr(x) + 0.2 * Expr(d), Builder::noise(s, t, 0.3));
      machine.keep_only({x});
    }
    return x;
  };
  double variance = data.variance_at(grid.front());
  for (std::size_t i = 0; i < grid.steps(); ++i)
    variance = std::pow(0.9 + 0.2 * data.gain(grid[i]), 2) * variance + 0.09;
  GaussianMachine machine(data, data.variance_at(grid.front()));
  CATCH_CHECK(machine.run(method) == Catch::Approx(variance).epsilon(1e-13));
  CATCH_CHECK(machine.evaluations() == 8);
  CATCH_CHECK(machine.has_drawn());
  GaussianMachine overlapping(data, 1.0);
  CATCH_CHECK_THROWS_AS(overlapping.run([&grid](Machine& m, Reg x) {
    return m.combine(m.combine(Expr(x), Builder::noise(grid[0], grid[2], 1.0)), Builder::noise(grid[1], grid[3], 1.0));
  }),
                        Error);
}

CATCH_TEST_CASE("a solver that refuses every grid fails with its own words", "[math][certificate]") {
  const Certificate c = certify([](const Grid&) -> Plan { throw ConfigError("sampler \"x\": not today."); }, kSecond);
  CATCH_CHECK(c.failures == std::vector<std::string>{"no plan: sampler \"x\": not today."});
}

CATCH_TEST_CASE("the flow of a mixture on the line is the quantile map", "[math][mixture]") {
  // sigma 80 -> 0.002, computed by an independent root search in float64 Python.
  const std::vector<std::pair<double, double>> pairs{{-119.747616705291, -1.190791135491},
                                                     {-47.743035488093, -0.658748887015},
                                                     {-39.742527436336, -0.099511375633},
                                                     {24.261529898734, 0.753935447445},
                                                     {96.266079195527, 1.190642244161}};
  const Level from{1.0, 80.0}, to{1.0, 0.002};
  for (const auto& [start, end] : pairs) {
    CATCH_CAPTURE(start);
    // The starts have 12 decimals, and the map stretches the valley between the modes.
    CATCH_CHECK(reference_mixture().flow(start, from, to) == Catch::Approx(end).margin(1e-11));
    CATCH_CHECK(reference_mixture().flow(end, to, from) == Catch::Approx(start).epsilon(1e-10));
  }
  // Ten standard deviations out the distribution function is 1 in double; the tail is not 0.
  const double far = reference_mixture().flow(800.0, from, to);
  CATCH_CHECK(reference_mixture().flow(far, to, from) == Catch::Approx(800.0).epsilon(1e-12));
}

CATCH_TEST_CASE("a single Gaussian flows along its ray, on the line and in the plane", "[math][mixture]") {
  const LineMixture line{.parts = {{.weight = 1.0, .data = {0.5, 0.04}}}};
  const PlaneMixture plane{.parts = {{.weight = 1.0, .mean = {0.5, -1.0}, .variance = 0.04}}};
  const Level from = variance_preserving().at(-3.0), to = variance_preserving().at(2.0);
  const Gaussian first{0.5, 0.04}, second{-1.0, 0.04};
  const double ratio = std::sqrt(first.variance_at(to) / first.variance_at(from));
  const auto exact = [&](const Gaussian& g, double x) { return to.alpha * g.mean + ratio * (x - from.alpha * g.mean); };
  CATCH_CHECK(line.flow(1.3, from, to) == Catch::Approx(exact(first, 1.3)).epsilon(1e-13));
  const double points[] = {1.3, -0.7};
  const std::vector<double> moved = plane.flow(points, from, to, 2000);
  CATCH_CHECK(moved[0] == Catch::Approx(exact(first, 1.3)).epsilon(1e-11));
  CATCH_CHECK(moved[1] == Catch::Approx(exact(second, -0.7)).epsilon(1e-11));
}

CATCH_TEST_CASE("plans with several estimates and a learned variance can be analysed", "[math][plan]") {
  const Grid grid = uneven_grid(variance_preserving(), 4, false);
  Builder b(grid);
  const std::vector<Reg> outputs =
      b.evaluate(b.input(), grid[0], {OutputKind::kData, OutputKind::kUnguided, OutputKind::kVariance});
  NoiseTerm noise = b.noise(grid[0], grid[4], 2.0);
  noise.scale = outputs[2];
  noise.log_low = std::log(0.01);
  noise.log_high = std::log(0.04);
  const Reg x = b.combine(0.5 * Expr(outputs[0]) + 0.25 * Expr(outputs[1]), noise);
  b.mark(x, grid[4]);
  const Plan plan = b.finish(x);
  CATCH_CHECK_THROWS_AS(normal_form(plan), Error);
  for (const auto& [v, std_dev] : {std::pair{-1.0, 0.1}, {1.0, 0.2}, {0.0, std::sqrt(0.02)}}) {
    const Tableau tableau = normal_form(with_fixed_variance(plan, v));
    CATCH_CHECK(tableau.output.on_data.at(0) == Catch::Approx(0.75 / grid[4].alpha));
    CATCH_CHECK(std::sqrt(tableau.noise_variance()) * grid[4].alpha == Catch::Approx(2.0 * std_dev));
  }
}
