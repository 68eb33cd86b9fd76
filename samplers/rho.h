#pragma once
// What the solvers in rho = sigma / alpha share: y = x / alpha obeys dy / drho = (y - D) / rho.

#include <cstddef>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "core/math/plan_builder.h"

namespace thaw {

/// dy / drho = (x - alpha D) / sigma: the noise the denoiser sees in x.
Expr rho_slope(Reg x, Reg denoised, const Level& level);

/// alpha_t (x / alpha_s + (rho_t - rho_s) slope), for levels with alpha_s > 0; t may be clean or off the path.
Expr rho_step(Reg x, const Expr& slope, const Level& s, const Level& t);

/// Throws ConfigError when the grid starts at alpha = 0, where rho is infinite and no midpoint in lambda exists.
void expect_finite_rho(const Grid& grid, const std::string& sampler);

/// Noise added before a step, Karras et al. 2022, algorithm 2.
struct Churn {
  double amount = 0.0;       // S_churn
  double rho_min = 0.0;      // S_tmin
  double rho_max = 0.0;      // S_tmax
  double noise_scale = 1.0;  // S_noise

  explicit Churn(const Settings& settings);
  static std::vector<Option> options();

  /// Moves x up from grid[i] when the level has churn, marks it, and returns the level x is at.
  Level apply(Builder& b, const Grid& grid, std::size_t i, Reg& x) const;
};

/// The first half of a step of every method here: the state after churn, its level and its slope.
struct RhoStart {
  Reg x;
  Level level;
  Expr slope;
};
RhoStart start_rho_step(Builder& b, const Grid& grid, std::size_t i, Reg x, const Churn& churn);

}  // namespace thaw
