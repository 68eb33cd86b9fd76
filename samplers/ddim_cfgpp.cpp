#include "core/math/plan_builder.h"
#include "samplers/cfgpp.h"
#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {

Plan cfgpp_plan(const Grid& grid, double eta) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const auto outputs = b.evaluate(x, s, {OutputKind::kData, OutputKind::kUnguided});
    const auto [keep, pull, fresh] = first_order(s, t, eta);
    const Expr direct = keep * (Expr(x) - s.alpha * Expr(outputs[1]));
    x = b.combine(t.alpha * Expr(outputs[0]) + direct, b.noise(s, t, fresh));
    b.mark(x, t);
  }
  return b.finish(x);
}

void register_sampler_ddim_cfgpp(SamplerRegistry& registry) {
  registry.add({{.name = "ddim_cfgpp",
                 .summary = "ddim that goes back to noise along the unguided estimate; scales of guidance in 0 .. 1",
                 .source = "Chung et al. 2024 (CFG++), algorithm 2; Song et al. 2021, eq. 12",
                 .options = {{"eta", 0.0, "share of noise renewed in a step", 0.0, 1.0}},
                 .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
                [](const Settings& settings) -> Solver {
                  return [eta = settings.number("eta")](const Grid& grid) { return cfgpp_plan(grid, eta); };
                }});
}

}  // namespace thaw
