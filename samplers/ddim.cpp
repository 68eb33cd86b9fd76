#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

Plan ddim(const Grid& grid, double eta) {
  return first_order_plan(grid, [eta](const Grid& g, std::size_t i) { return first_order(g[i], g[i + 1], eta); });
}

// eps from the prediction before thresholding, x0 after it: where nothing is thresholded both are one method.
Plan ddim_raw_noise(const Grid& grid, double eta) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const auto outputs = b.evaluate(x, s, {OutputKind::kData, OutputKind::kRaw});
    const auto [keep, pull, fresh] = first_order(s, t, eta);
    const Expr direct = keep * (Expr(x) - s.alpha * Expr(outputs[1]));
    x = b.combine(t.alpha * Expr(outputs[0]) + direct, b.noise(s, t, fresh));
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_ddim(SamplerRegistry& registry) {
  registry.add({{.name = "ddim",
                 .summary = "first order, from deterministic (eta 0) to the DDPM posterior (eta 1)",
                 .source = "Song et al. 2021, \"Denoising diffusion implicit models\", eq. 12 and 16",
                 .options = {{"eta", 0.0, "share of noise renewed in a step", 0.0, 1.0},
                             {"use_clipped_model_output", true,
                              "noise estimate from the thresholded x0; false: from the x0 before thresholding"}},
                 .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
                [](const Settings& settings) -> Solver {
                  return [eta = settings.number("eta"), is_clipped = settings.flag("use_clipped_model_output")](
                             const Grid& grid) { return is_clipped ? ddim(grid, eta) : ddim_raw_noise(grid, eta); };
                }});
}

}  // namespace thaw
