#include <algorithm>
#include <cmath>

#include "core/math/plan_builder.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// Jump to the data, then noise again up to the next level.
Plan consistency(const Grid& grid, double sigma_min) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    const double floor = t.alpha * sigma_min;
    const double fresh = std::sqrt(std::max(0.0, t.sigma * t.sigma - floor * floor));
    x = b.combine(t.alpha * d, b.noise(s, t, fresh));
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_consistency(SamplerRegistry& registry) {
  registry.add({{.name = "consistency",
                 .summary = "multistep consistency sampling: jump to the data, add fresh noise of the next level",
                 .source = "Song et al. 2023 (consistency models), algorithm 1; Luo et al. 2023 (LCM), algorithm 3",
                 .options = {{"sigma_min", 0.0, "noise (sigma / alpha) the jump leaves in the data; 0.002 in the paper",
                              0.0, 1.0}},
                 .traits = {"stochastic", "evaluations_per_step=1"}},
                [](const Settings& settings) -> Solver {
                  return [floor = settings.number("sigma_min")](const Grid& grid) { return consistency(grid, floor); };
                }});
}

}  // namespace thaw
