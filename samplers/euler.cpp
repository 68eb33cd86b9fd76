#include "core/math/plan_builder.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// y = x / alpha, dy / drho = (y - D) / rho: y_t = y_s + (rho_t - rho_s) (y_s - D) / rho_s, multiplied by alpha_t.
// Written in ratios of sigma so that alpha_s = 0, where every flow starts, divides nothing.
Plan euler(const Grid& grid, const Churn& churn) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level s = churn.apply(b, grid, i, x);
    const Level& t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    const double shrink = t.sigma / s.sigma;
    x = b.combine(shrink * x + (t.alpha - shrink * s.alpha) * d);
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_euler(SamplerRegistry& registry) {
  registry.add({{.name = "euler",
                 .summary = "Euler steps of the probability-flow equation in sigma / alpha, with optional churn; on a "
                            "flow, in t",
                 .source = "Karras et al. 2022, algorithm 2 without the correction; Lipman et al. 2023",
                 .options = Churn::options(),
                 .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
                [](const Settings& settings) -> Solver {
                  return [churn = Churn(settings)](const Grid& grid) { return euler(grid, churn); };
                }});
}

}  // namespace thaw
