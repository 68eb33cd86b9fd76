#include "core/math/plan_builder.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// The slope at the middle in lambda, sqrt(rho_s rho_t), serves for the whole step.
Plan dpm2(const Grid& grid, const Churn& churn) {
  expect_finite_rho(grid, "dpm2");
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level& t = grid[i + 1];
    auto [start, s, d] = start_rho_step(b, grid, i, x, churn);
    if (!t.is_clean()) {
      const Level middle = grid.at_lambda(0.5 * (s.lambda() + t.lambda()));
      const Reg half = b.combine(rho_step(start, d, s, middle), Role::kStage);
      d = rho_slope(half, b.evaluate(half, middle), middle);
    }
    x = b.combine(rho_step(start, d, s, t));
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_dpm2(SamplerRegistry& registry) {
  registry.add({{.name = "dpm2",
                 .summary = "midpoint steps in sigma / alpha with the middle in log sigma, with optional churn",
                 .source = "Lu et al. 2022 (DPM-Solver), algorithm 1, with the churn of Karras et al. 2022",
                 .options = Churn::options(),
                 .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
                [](const Settings& settings) -> Solver {
                  return [churn = Churn(settings)](const Grid& grid) { return dpm2(grid, churn); };
                }});
}

}  // namespace thaw
