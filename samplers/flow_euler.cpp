#include "samplers/sampler.h"
#include "samplers/velocity.h"

namespace thaw {

void register_sampler_flow_euler(SamplerRegistry& registry) {
  registry.add(
      {{.name = "flow_euler",
        .summary =
            "Euler along the velocity in the path's own time; on a circle (VP) a straight step leaves the marginals",
        .source = "Lipman et al. 2023 (flow matching), eq. 13; Lu and Song 2024 (TrigFlow) on the circle",
        .traits = {"path_bound", "breaks_marginals", "evaluations_per_step=1", "order=1"}},
       [](const Settings&) -> Solver {
         return [](const Grid& grid) {
           return velocity_plan(grid, {.nodes = {0.0}, .weights = {1.0}}, CleanRule::kEuler);
         };
       }});
}

}  // namespace thaw
