#include <cmath>

#include "core/math/plan_builder.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

Plan rk4(const Grid& grid) {
  expect_finite_rho(grid, "rk4");
  Builder b(grid);
  Reg x = b.input();
  const auto slope_at = [&b](const Expr& state, const Level& level) {
    const Reg stage = b.combine(state, Role::kStage);
    return rho_slope(stage, b.evaluate(stage, level), level);
  };
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    Expr d = rho_slope(x, b.evaluate(x, s), s);
    if (!t.is_clean()) {  // the fourth slope would be asked at sigma = 0
      const Level middle = grid.at_lambda(-std::log(0.5 * (s.rho() + t.rho())));
      const Expr d2 = slope_at(rho_step(x, d, s, middle), middle);
      const Expr d3 = slope_at(rho_step(x, d2, s, middle), middle);
      const Expr d4 = slope_at(rho_step(x, d3, s, t), t);
      d = (d + 2.0 * d2 + 2.0 * d3 + d4) / 6.0;
    }
    x = b.combine(rho_step(x, d, s, t));
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_rk4(SamplerRegistry& registry) {
  registry.add({{.name = "rk4",
                 .summary = "the classical Runge-Kutta steps of order 4 in sigma / alpha; Euler into the clean level",
                 .source = "Kutta 1901, on dy / drho = (y - D) / rho of Karras et al. 2022, eq. 3",
                 .traits = {"refuses_alpha_zero", "evaluations_per_step=4", "order=4"}},
                [](const Settings&) -> Solver { return rk4; }});
}

}  // namespace thaw
