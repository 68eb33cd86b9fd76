#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.h"
#include "core/math/plan_builder.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct Churn {
  double amount = 0.0;       // S_churn
  double rho_min = 0.0;      // S_tmin
  double rho_max = 0.0;      // S_tmax
  double noise_scale = 1.0;  // S_noise

  // gamma_i of Karras et al. 2022, algorithm 2, for n intervals.
  double gamma(const Level& level, std::size_t n) const {
    if (level.rho() < rho_min || level.rho() > rho_max) return 0.0;
    return std::min(amount / static_cast<double>(n), std::numbers::sqrt2 - 1.0);
  }
};

// d = dy / drho = (y - D) / rho with y = x / alpha: the noise the denoiser sees.
Expr slope(Reg x, Reg denoised, const Level& level) {
  return (x - level.alpha * Expr(denoised)) / level.sigma;
}

Plan heun(const Grid& grid, const Churn& churn) {
  Builder b(grid);
  if (grid.front().alpha == 0.0)
    throw ConfigError(
        "sampler \"heun\": cannot start from alpha = 0, where sigma / alpha is infinite. Use ddim, euler or "
        "dpmpp_2m, or start lower (schedule.t_max below 1).");
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    Level s = grid[i];
    const Level t = grid[i + 1];
    if (const double gamma = churn.gamma(s, grid.steps()); gamma > 0.0) {
      const double rho = s.rho() * (1.0 + gamma);
      const Level up = grid.at_lambda(-std::log(rho));
      const double added = up.alpha * churn.noise_scale * std::sqrt(rho * rho - s.rho() * s.rho());
      x = b.combine((up.alpha / s.alpha) * x, b.fresh(kChurnStream, static_cast<std::uint32_t>(i), added),
                    Role::kNoiseUp);
      b.mark(x, up, MarkKind::kNoised);
      s = up;
    }
    const double step = t.rho() - s.rho();
    const Expr y = x / s.alpha;
    const Expr d = slope(x, b.evaluate(x, s), s);
    if (t.is_clean()) {  // sigma = 0 is never evaluated: algorithm 2, line 10
      x = b.combine(t.alpha * (y + step * d));
    } else {
      const Reg guess = b.combine(t.alpha * (y + step * d), Role::kStage);
      const Expr d2 = slope(guess, b.evaluate(guess, t), t);
      x = b.combine(t.alpha * (y + (0.5 * step) * (d + d2)));
    }
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_heun(SamplerRegistry& registry) {
  registry.add({{.name = "heun",
                 .summary = "Heun's second-order steps in sigma / alpha, with optional churn",
                 .source = "Karras et al. 2022, algorithm 2",
                 .options = {{"s_churn", 0.0, "noise added over all steps", 0.0, 1e6},
                             {"s_tmin", 0.0, "smallest sigma / alpha with churn", 0.0, 1e9},
                             {"s_tmax", 1e6, "largest sigma / alpha with churn", 0.0, 1e9},
                             {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.5, 1.5}},
                 .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
                [](const Settings& s) -> Solver {
                  const Churn churn{s.number("s_churn"), s.number("s_tmin"), s.number("s_tmax"), s.number("s_noise")};
                  return [churn](const Grid& grid) { return heun(grid, churn); };
                }});
}

}  // namespace thaw
