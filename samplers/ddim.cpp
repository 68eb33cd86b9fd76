#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

Plan ddim(const Grid& grid, double eta) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Reg d = b.evaluate(x, grid[i]);
    const auto [keep, pull, fresh] = first_order(grid[i], grid[i + 1], eta);
    x = b.combine(keep * x + pull * d, b.noise(grid[i], grid[i + 1], fresh));
    b.mark(x, grid[i + 1]);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_ddim(SamplerRegistry& registry) {
  registry.add({{.name = "ddim",
                 .summary = "first order, from deterministic (eta 0) to the DDPM posterior (eta 1)",
                 .source = "Song et al. 2021, \"Denoising diffusion implicit models\", eq. 12 and 16",
                 .options = {{"eta", 0.0, "share of noise renewed in a step", 0.0, 1.0}},
                 .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
                [](const Settings& settings) -> Solver {
                  return [eta = settings.number("eta")](const Grid& grid) { return ddim(grid, eta); };
                }});
}

}  // namespace thaw
