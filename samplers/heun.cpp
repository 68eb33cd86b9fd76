#include "core/math/plan_builder.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

Plan heun(const Grid& grid, const Churn& churn) {
  expect_finite_rho(grid, "heun");
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level& t = grid[i + 1];
    const auto [start, s, d] = start_rho_step(b, grid, i, x, churn);
    if (t.is_clean()) {  // sigma = 0 is never evaluated: algorithm 2, line 10
      x = b.combine(rho_step(start, d, s, t));
    } else {
      const Reg guess = b.combine(rho_step(start, d, s, t), Role::kStage);
      const Expr d2 = rho_slope(guess, b.evaluate(guess, t), t);
      x = b.combine(rho_step(start, 0.5 * (d + d2), s, t));
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
                 .options = Churn::options(),
                 .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
                [](const Settings& settings) -> Solver {
                  return [churn = Churn(settings)](const Grid& grid) { return heun(grid, churn); };
                }});
}

}  // namespace thaw
