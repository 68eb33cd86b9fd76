#pragma once
// Exponential Runge-Kutta steps in lambda, on levels between those of the grid or on the grid's own.

#include <span>
#include <string>

#include "core/math/plan_builder.h"

namespace thaw {

/// Variation of constants over a step s -> t, h = lambda_t - lambda_s, with m = D (data) or eps (noise):
/// x_t = keep x_s + scale sum_k H phi_{k+1}(z) m^(k), m^(k) the k-th derivative over the step's unit interval.
///
/// Data: keep = (sigma_t / sigma_s) e^(-tau2 h), scale = alpha_t, H = (1 + tau2) h, z = -H (Lu et al. 2022,
/// DPM-Solver++, eq. 4.1 and 5.2). Noise: keep = alpha_t / alpha_s, scale = -sigma_t, H = z = h (DPM-Solver, eq. 3.4).
struct Exponential {
  bool is_data = true;
  double tau2 = 0.0;  // squared noise strength, data form only

  Expr model(Reg x, Reg denoised, const Level& level) const;
  double keep(const Level& s, const Level& t) const;
  double scale(const Level& t) const { return is_data ? t.alpha : -t.sigma; }
  /// H phi_k(z), k >= 1.
  double weight(int k, double h) const;
};

/// Where a step is evaluated, in shares of h, and how slopes enter: `midpoint` weights the last one alone.
struct Stages {
  double r1 = 0.5;
  double r2 = 2.0 / 3.0;
  bool is_heun = false;
};

/// Where an update starts.
struct ExponentialBase {
  Reg x;
  Level level;
};

/// Predictions m at lambda_s + r h, r[0] = 0 at the base.
struct StagePredictions {
  std::span<const Expr> m;
  std::span<const double> r;
  bool is_heun = false;
};

/// x_t of order m.size(): Lu et al. 2022, algorithms 1 and 2 and (order 3, heun) the Taylor form of Lu et al. 2022
/// (DPM-Solver), appendix B. Also for a base two grid levels back.
Expr exponential_update(const Exponential& form, const ExponentialBase& base, const Level& t,
                        const StagePredictions& stages);

/// One step of `order` 1 .. 3 from x at s, already denoised to d; evaluates between s and t on the grid's path. t may
/// be off the path (see down_level) and must not be clean for orders above 1.
struct SinglestepContext {
  Builder& b;
  const Grid& grid;
  Exponential form{};
  Stages stages{};

  Expr step(int order, Reg x, Reg d, const Level& s, const Level& t) const;
};

/// `order` everywhere, 1 into the clean level. `sampler` names itself in the refusal of alpha = 0.
Plan singlestep_plan(const Grid& grid, const std::string& sampler, int order, const Exponential& form,
                     const Stages& stages);

/// solver_type and r1 (order 2), r1 and r2 (order 3), with the papers' defaults.
std::vector<Option> stage_options(int order);
Stages read_stages(const Settings& settings, int order);

}  // namespace thaw
