#include "core/math/plan_builder.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// y = x / alpha, dy / drho = (y - D) / rho: y_t = y_s + (rho_t - rho_s) (y_s - D) / rho_s, multiplied by alpha_t.
// Written in ratios of sigma so that alpha_s = 0, where every flow starts, divides nothing.
Plan euler(const Grid& grid) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
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
                 .summary = "Euler steps of the probability-flow equation in sigma / alpha; on a flow, in t",
                 .source = "Karras et al. 2022, algorithm 1 without the correction; Lipman et al. 2023",
                 .traits = {"evaluations_per_step=1", "order=1"}},
                [](const Settings&) -> Solver { return euler; }});
}

}  // namespace thaw
