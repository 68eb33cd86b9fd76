#include "tests/catch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/math/phi.h"
#include "core/math/philox.h"
#include "core/math/plan_analysis.h"
#include "core/math/plan_builder.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

const Grid kGrid = make_grid(variance_exploding(), {{1, 3}, {1, 1}, {1, 0}});

/// One Euler step, a valid plan to break.
Plan valid_plan() {
  Builder b(kGrid);
  const Reg x = b.input();
  const Reg d = b.evaluate(x, kGrid[0]);
  const Reg y = b.combine(0.5 * x + 0.5 * d, b.noise(kGrid[0], kGrid[1], 0.1));
  b.mark(y, kGrid[1]);
  return b.finish(y);
}

std::string refusal(void (*change)(Plan&)) {
  Plan plan = valid_plan();
  change(plan);
  return message_of([&] { validate(plan); });
}

Evaluate& evaluation(Plan& plan) {
  return std::get<Evaluate>(plan.program[0]);
}
Combine& combination(Plan& plan) {
  return std::get<Combine>(plan.program[1]);
}

}  // namespace

CATCH_TEST_CASE("phi functions are exact from tiny to large arguments", "[math][phi]") {
  for (int k = 0; k <= 4; ++k)
    for (double z : {1e-8, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.999, 1.001, 2.0, 5.0, 10.0})
      for (double sign : {1.0, -1.0}) {
        if (sign * z < -6) continue;  // the alternating series loses more than long double has to spare
        long double term = 1.0L, sum = 0.0L;
        for (int i = 1; i <= k; ++i) term /= i;
        for (int i = 1; i < 120; ++i) {
          sum += term;
          term *= static_cast<long double>(sign * z) / (k + i);
        }
        CATCH_CAPTURE(k, z, sign);
        CATCH_CHECK(phi(k, sign * z) == Catch::Approx(static_cast<double>(sum)).epsilon(1e-14));
      }
  CATCH_CHECK(phi(2, -std::numeric_limits<double>::infinity()) == 0.0);
}

CATCH_TEST_CASE("a builder merges terms and drops zero weights", "[math][plan]") {
  Builder b(kGrid);
  const Reg x = b.input();
  const Reg d = b.evaluate(x, kGrid[0]);
  const Reg y = b.combine(2.0 * (x + d) - x - 2.0 * Expr(d) + Expr(x) / 4.0, b.noise(kGrid[0], kGrid[1], 0.0));
  b.mark(y, kGrid[1]);
  Plan plan = b.finish(y);
  const Combine& c = std::get<Combine>(plan.program[1]);
  CATCH_REQUIRE(c.terms.size() == 1);
  CATCH_CHECK(c.terms[0].reg == x);
  CATCH_CHECK(c.terms[0].weight == 1.25);
  CATCH_CHECK(c.noise.empty());
  CATCH_CHECK(plan.evaluations() == 1);
  CATCH_CHECK(plan.steps() == 1);
  CATCH_CHECK(plan.start == kGrid.front());
  CATCH_CHECK(plan.end == kGrid.back());
}

CATCH_TEST_CASE("noise between two levels runs upward on the clock lambda", "[math][plan]") {
  const Builder b(kGrid);
  CATCH_CHECK(b.noise(kGrid[0], kGrid[1], 1.0).draw == b.noise(kGrid[1], kGrid[0], 1.0).draw);
  CATCH_CHECK(b.noise(kGrid[0], kGrid[1], 1.0).draw.from == Catch::Approx(-std::log(3.0)).epsilon(1e-15));
}

CATCH_TEST_CASE("validate refuses every broken plan and names the place", "[math][plan]") {
  CATCH_CHECK(refusal([](Plan&) {}) == "");
  CATCH_CHECK(has_text(refusal([](Plan& p) {
                         evaluation(p).level = {1, 0};
                       }),
                       "instruction 0: evaluation at alpha 1, sigma 0"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { evaluation(p).level.sigma = INFINITY; }), "both finite"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { evaluation(p).target = Level{1, NAN}; }), "target"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { evaluation(p).outputs.clear(); }), "without outputs"));
  CATCH_CHECK(has_text(refusal([](Plan& p) {
                         evaluation(p).outputs.push_back({OutputKind::kData, Reg{2}});
                       }),
                       "two outputs of one kind"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { evaluation(p).src = Reg{2}; }), "register 2 is read unwritten"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { evaluation(p).outputs[0].dst = p.input; }), "written twice"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { combination(p).dst = Reg{7}; }), "register 7 is outside the plan"));
  CATCH_CHECK(
      has_text(refusal([](Plan& p) { combination(p).terms[0].weight = INFINITY; }), "weight inf is not finite"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { combination(p).noise[0].weight = NAN; }), "is not finite"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { combination(p).noise[0].scale = Reg{5}; }), "read unwritten"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { combination(p).noise[0].draw.to = combination(p).noise[0].draw.from; }),
                       "shorter than 3.1e-5"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { p.output = Reg{9}; }), "output register"));
  CATCH_CHECK(has_text(refusal([](Plan& p) { p.program.pop_back(); }), "last mark"));
}

CATCH_TEST_CASE("lowered plans need as many registers as the method has history", "[math][plan]") {
  const Grid grid = karras_grid(20);
  const auto registers = [&](const char* name) { return lower(make_solver(name)(grid)).num_registers; };
  CATCH_CHECK(registers("ddim") == 2);
  CATCH_CHECK(registers("consistency") == 2);
  CATCH_CHECK(registers("dpmpp_2m") == 3);
  CATCH_CHECK(registers("heun") == 4);
}

CATCH_TEST_CASE("lowering frees each register once and never one that is read later", "[math][plan]") {
  for (const auto& entry : all_samplers().entries()) {
    // The one has no plan before it runs, the other needs the timesteps of a table.
    if (entry.info.has_trait("adaptive") || entry.info.has_trait("needs_timesteps")) continue;
    const std::string& name = entry.info.name;
    CATCH_CAPTURE(name);
    const LoweredPlan lowered = lower(make_solver(name)(karras_grid(6)));
    std::vector<bool> holds(lowered.num_registers, false);
    holds[lowered.plan.input.id] = true;
    const auto expect_held = [&](Reg reg) { CATCH_REQUIRE((reg.id < holds.size() && holds[reg.id])); };
    CATCH_REQUIRE(lowered.freed.size() == lowered.plan.program.size());
    for (std::size_t i = 0; i < lowered.plan.program.size(); ++i) {
      if (const auto* e = std::get_if<Evaluate>(&lowered.plan.program[i])) {
        expect_held(e->src);
        for (const Output& output : e->outputs) {
          CATCH_REQUIRE(!(e->src == output.dst));
          holds[output.dst.id] = true;
        }
      } else if (const auto* c = std::get_if<Combine>(&lowered.plan.program[i])) {
        for (const Term& term : c->terms) expect_held(term.reg);
        holds[c->dst.id] = true;
      } else {
        expect_held(std::get<Mark>(lowered.plan.program[i]).reg);
      }
      for (const Reg reg : lowered.freed[i]) {
        expect_held(reg);
        holds[reg.id] = false;
      }
    }
    expect_held(lowered.plan.output);
    CATCH_CHECK(std::count(holds.begin(), holds.end(), true) == 1);
  }
}

CATCH_TEST_CASE("outputs that nobody reads get places of their own", "[math][plan]") {
  Builder b(kGrid);
  const std::vector<Reg> outputs = b.evaluate(b.input(), kGrid[0], {OutputKind::kRaw, OutputKind::kData});
  const Reg y = b.combine(1.0 * Expr(outputs[1]));
  b.mark(y, kGrid[1]);
  const LoweredPlan lowered = lower(b.finish(y));
  const auto& e = std::get<Evaluate>(lowered.plan.program[0]);
  CATCH_CHECK(!(e.outputs[0].dst == e.outputs[1].dst));
  CATCH_CHECK(lowered.freed[0].size() == 2);  // the raw output and the input
}

CATCH_TEST_CASE("a plan prints one line an instruction", "[math][plan]") {
  const std::string text = format_plan(valid_plan());
  CATCH_CHECK(has_text(text, "evaluate data->r1 of r0 at (1, 3)\n"));
  CATCH_CHECK(has_text(text, "combine r2 = 0.5 r0 0.5 r1 0.1 W[-1.0986"));
  CATCH_CHECK(has_text(text, "mark step 0 r2 at (1, 1)\n"));
}

CATCH_TEST_CASE("the exact moments of a plan are those of a run over many samples", "[math][plan]") {
  const Grid grid = karras_grid(6);
  const Plan plan = make_solver("ddim", "eta: 1")(grid);
  const Gaussian data{.mean = 0.4, .variance = 0.25};
  constexpr std::size_t n = 20000;  // std of the result 0.2: standard error of the mean 0.0015
  std::vector<float> z(n);
  std::uint32_t draws = 0;
  const auto normals = [&] {
    fill_normal(z, {.seed = 1, .draw = draws++});
    return std::vector<double>(z.begin(), z.end());
  };
  std::vector<double> x = normals();
  for (double& value : x) value = 0.4 + std::sqrt(data.variance_at(plan.start)) * value;
  const HostDenoiser denoiser = [&](std::span<const double> s, const Level& level) {
    std::vector<double> d;
    for (const double value : s) d.push_back(data.denoise(value, level));
    return d;
  };
  x = run_on_host(plan, x, denoiser, [&](const Draw&) { return normals(); });
  double mean = 0.0, square = 0.0;
  for (const double value : x) {
    mean += value / n;
    square += value * value / n;
  }
  const Moments exact = gaussian_moments(plan, data).output;
  const double variance = exact.variance(data.variance_at(plan.start));
  CATCH_CHECK(mean == Catch::Approx(exact.mean(0.4)).margin(5 * std::sqrt(variance / n)));
  CATCH_CHECK(square - mean * mean == Catch::Approx(variance).margin(5 * variance * std::sqrt(2.0 / n)));
}
