#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {

void register_sampler_flow_map(SamplerRegistry& registry) {
  registry.add(
      {{.name = "flow_map",
        .summary = "one jump a step to the next level, which the network is told; of a network that is not told "
                   "it is ddim",
        .source = "Geng et al. 2025 (MeanFlow), algorithm 2; Frans et al. 2024 (shortcut models), algorithm 2; "
                  "Kim et al. 2024 (consistency trajectory models), eq. 6",
        .traits = {"evaluations_per_step=1", "order=1"}},
       [](const Settings&) -> Solver {
         return [](const Grid& grid) {
           Builder b(grid);
           Reg x = b.input();
           for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
             const Level &s = grid[i], &t = grid[i + 1];
             const Reg d = b.evaluate(x, s, t);
             const auto [keep, pull, fresh] = first_order(s, t, 0.0);
             x = b.combine(keep * x + pull * d);
             b.mark(x, t);
           }
           return b.finish(x);
         };
       }});
}

}  // namespace thaw
