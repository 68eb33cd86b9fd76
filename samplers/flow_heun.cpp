#include "samplers/sampler.h"
#include "samplers/velocity.h"

namespace thaw {

void register_sampler_flow_heun(SamplerRegistry& registry) {
  registry.add(
      {{.name = "flow_heun",
        .summary =
            "Heun along the velocity in the path's own time; on a circle (VP) a straight step leaves the marginals",
        .source = "Heun 1900 on the velocity of Lipman et al. 2023, eq. 13",
        .options = {clean_option()},
        .traits = {"path_bound", "breaks_marginals", "evaluations_per_step=2", "order=2"}},
       [](const Settings& settings) -> Solver {
         return [rule = read_clean_rule(settings)](const Grid& grid) {
           return velocity_plan(grid, {.nodes = {0.0, 1.0}, .weights = {0.5, 0.5}}, rule);
         };
       }});
}

}  // namespace thaw
