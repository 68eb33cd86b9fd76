#include "samplers/rho.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

Expr rho_slope(Reg x, Reg denoised, const Level& level) {
  return (x - level.alpha * Expr(denoised)) / level.sigma;
}

Expr rho_step(Reg x, const Expr& slope, const Level& s, const Level& t) {
  return t.alpha * (Expr(x) / s.alpha + (t.rho() - s.rho()) * slope);
}

void expect_finite_rho(const Grid& grid, const std::string& sampler) {
  if (grid.front().alpha > 0.0) return;
  throw ConfigError(concat("sampler \"", sampler,
                           "\": cannot start from alpha = 0, where sigma / alpha is infinite. Use ddim, euler or "
                           "dpmpp_2m, or start lower (schedule.t_max below 1)."));
}

Churn::Churn(const Settings& settings)
    : amount(settings.number("s_churn")),
      rho_min(settings.number("s_tmin")),
      rho_max(settings.number("s_tmax")),
      noise_scale(settings.number("s_noise")) {}

std::vector<Option> Churn::options() {
  return {{"s_churn", 0.0, "noise added over all steps", 0.0, 1e6},
          {"s_tmin", 0.0, "smallest sigma / alpha with churn", 0.0, 1e9},
          {"s_tmax", 1e6, "largest sigma / alpha with churn", 0.0, 1e9},
          {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.5, 1.5}};
}

Level Churn::apply(Builder& b, const Grid& grid, std::size_t i, Reg& x) const {
  const Level& s = grid[i];
  if (amount == 0.0 || s.rho() < rho_min || s.rho() > rho_max) return s;
  const double gamma = std::min(amount / static_cast<double>(grid.steps()), std::numbers::sqrt2 - 1.0);
  const double rho = s.rho() * (1.0 + gamma);
  const Level up = grid.at_lambda(-std::log(rho));
  const double added = up.alpha * noise_scale * std::sqrt(rho * rho - s.rho() * s.rho());
  x = b.combine((up.alpha / s.alpha) * x, b.fresh(kChurnStream, static_cast<std::uint32_t>(i), added), Role::kNoiseUp);
  b.mark(x, up, MarkKind::kNoised);
  return up;
}

RhoStart start_rho_step(Builder& b, const Grid& grid, std::size_t i, Reg x, const Churn& churn) {
  RhoStart start{.x = x, .level = {}, .slope = {}};
  start.level = churn.apply(b, grid, i, start.x);
  start.slope = rho_slope(start.x, b.evaluate(start.x, start.level), start.level);
  return start;
}

}  // namespace thaw
