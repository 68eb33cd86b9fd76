#include <cmath>
#include <cstdint>

#include "core/base/text.h"
#include "core/math/plan_builder.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct Restart {
  double rho_low = 0.0;   // t_min of the paper
  double rho_high = 0.0;  // t_max
  int repetitions = 0;    // K
  int inner_steps = 0;
};

// The noisy grid level whose sigma / alpha is nearest.
std::size_t nearest_level(const Grid& grid, double rho) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < grid.size(); ++i)
    if (!grid[i].is_clean() && std::abs(grid[i].rho() - rho) < std::abs(grid[best].rho() - rho)) best = i;
  return best;
}

Reg heun_step(Builder& b, Reg x, const Level& s, const Level& t) {
  const Expr d = rho_slope(x, b.evaluate(x, s), s);
  if (t.is_clean()) return b.combine(rho_step(x, d, s, t));
  const Reg guess = b.combine(rho_step(x, d, s, t), Role::kStage);
  const Expr d2 = rho_slope(guess, b.evaluate(guess, t), t);
  return b.combine(rho_step(x, 0.5 * (d + d2), s, t));
}

// Level k of n steps down from high to low, even in rho^(1/7) (Karras et al. 2022, eq. 5).
Level inner_level(const Grid& grid, const Level& high, const Level& low, int k, int n) {
  if (k == 0) return high;
  if (k == n) return low;
  const double from = std::pow(high.rho(), 1.0 / 7.0), to = std::pow(low.rho(), 1.0 / 7.0);
  return grid.at_lambda(-7.0 * std::log(from + (to - from) * k / n));
}

// Up to `high` with fresh noise and down again; marked so that hooks see every level on the way.
Reg repeat_interval(Builder& b, const Grid& grid, Reg x, const Level& high, const Level& low, const Restart& restart) {
  for (int repetition = 0; repetition < restart.repetitions; ++repetition) {
    const double added = high.alpha * std::sqrt(high.rho() * high.rho() - low.rho() * low.rho());
    const auto ordinal = static_cast<std::uint32_t>(repetition);
    x = b.combine((high.alpha / low.alpha) * x, b.fresh(kRestartStream, ordinal, added), Role::kNoiseUp);
    b.mark(x, high, MarkKind::kNoised);
    for (int k = 0; k < restart.inner_steps; ++k) {
      const Level to = inner_level(grid, high, low, k + 1, restart.inner_steps);
      x = heun_step(b, x, inner_level(grid, high, low, k, restart.inner_steps), to);
      b.mark(x, to, k + 1 < restart.inner_steps ? MarkKind::kNoised : MarkKind::kCorrected);
    }
  }
  return x;
}

Plan run(const Grid& grid, const Restart& restart) {
  expect_finite_rho(grid, "restart");
  const std::size_t low = nearest_level(grid, restart.rho_low), high = nearest_level(grid, restart.rho_high);
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    x = heun_step(b, x, grid[i], grid[i + 1]);
    b.mark(x, grid[i + 1]);
    // On a grid too coarse to part the two levels there is nothing to repeat.
    if (i + 1 == low && high < low) x = repeat_interval(b, grid, x, grid[high], grid[low], restart);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_restart(SamplerRegistry& registry) {
  registry.add(
      {{.name = "restart",
        .summary = "heun that noises one interval of levels up again and repeats it, contracting earlier errors",
        .source = "Xu et al. 2023, \"Restart sampling for improving generative processes\", algorithm 1",
        .options = {{"rho_low", 0.1, "sigma / alpha where an interval is repeated; the nearest level", 0.0, 1e9},
                    {"rho_high", 2.0, "sigma / alpha it is noised up to; the nearest level", 0.0, 1e9},
                    {"repetitions", std::int64_t{1}, "times the interval is repeated (K of the paper)", 0, 1000},
                    {"inner_steps", std::int64_t{4}, "steps down the interval, Karras spaced", 1, 1000}},
        .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=2", "extra_evaluations=8"}},
       [](const Settings& s) -> Solver {
         const Restart restart{s.number("rho_low"), s.number("rho_high"), static_cast<int>(s.integer("repetitions")),
                               static_cast<int>(s.integer("inner_steps"))};
         if (restart.rho_low >= restart.rho_high)
           s.fail("rho_low", concat("must be below rho_high (", restart.rho_high, "), got ", restart.rho_low, "."));
         return [restart](const Grid& grid) { return run(grid, restart); };
       }});
}

}  // namespace thaw
