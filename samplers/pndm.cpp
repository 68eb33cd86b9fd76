#include <cmath>

#include "core/base/error.h"
#include "samplers/polynomial.h"
#include "samplers/rho.h"

namespace thaw {
namespace {

constexpr std::size_t kWarmUp = 3;  // Runge-Kutta steps before there are four predictions

void expect_middle_levels(const Grid& grid) {
  if (!grid.at_time)
    throw ConfigError(
        "sampler \"pndm\": its first steps need the levels at times between those of the grid, which grids of "
        "schedules with discrete timesteps have; this one has none. Use plms, or such a schedule.");
}

// The level half way in time; timesteps are whole numbers, halves go to the noisier side.
Level middle_level(const Grid& grid, std::size_t i) {
  return grid.at_time(grid.times[i] - std::floor(0.5 * (grid.times[i] - grid.times[i + 1])));
}

// Classical Runge-Kutta in rho with the middle taken in time. `noise` is the prediction at the start.
Reg runge_kutta_step(Builder& b, Reg x, Reg noise, const Grid& grid, std::size_t i) {
  const Level &s = grid[i], &t = grid[i + 1];
  const Level m = middle_level(grid, i);
  const auto stage = [&](const Level& to, const Expr& slope) {
    const Reg guess = b.combine(rho_step(x, slope, s, to), Role::kStage);
    return b.combine(rho_slope(guess, b.evaluate(guess, to), to), Role::kEps);
  };
  const Reg e2 = stage(m, noise);
  const Reg e3 = stage(m, e2);
  const Reg e4 = stage(t, e3);
  const Expr mean = (noise + 2.0 * Expr(e2) + 2.0 * Expr(e3) + e4) / 6.0;
  return b.combine(rho_step(x, mean, s, t));
}

Plan pndm(const Grid& grid, const OrderRule& orders) {
  expect_middle_levels(grid);
  return pseudo_linear_plan(grid, "pndm", orders, kWarmUp, [&](Builder& b, Reg x, Reg noise, std::size_t i) {
    return runge_kutta_step(b, x, noise, grid, i);
  });
}

}  // namespace

void register_sampler_pndm(SamplerRegistry& registry) {
  registry.add({{.name = "pndm",
                 .summary = "three Runge-Kutta steps, then Adams-Bashforth weights of even steps",
                 .source = "Liu et al. 2022 (PNDM), algorithm 2 (F-PNDM)",
                 .options = {final_order_option("one")},
                 .traits = {"refuses_alpha_zero", "needs_timesteps", "evaluations_per_step=1", "extra_evaluations=9",
                            "order=2"}},
                [](const Settings& settings) -> Solver {
                  const OrderRule orders = read_rho_order_rule(settings, 4);
                  return [orders](const Grid& grid) { return pndm(grid, orders); };
                }});
}

}  // namespace thaw
