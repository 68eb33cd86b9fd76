#include "samplers/sampler.h"
#include "samplers/velocity.h"

namespace thaw {

void register_sampler_flow_rk4(SamplerRegistry& registry) {
  registry.add({{.name = "flow_rk4",
                 .summary = "Runge-Kutta of order 4 along the velocity in the path's own time; on a circle (VP) a step "
                            "leaves the marginals",
                 .source = "Kutta 1901 on the velocity of Lipman et al. 2023, eq. 13",
                 .options = {clean_option()},
                 .traits = {"path_bound", "breaks_marginals", "evaluations_per_step=4", "order=4"}},
                [](const Settings& settings) -> Solver {
                  return [rule = read_clean_rule(settings)](const Grid& grid) {
                    return velocity_plan(
                        grid, {.nodes = {0.0, 0.5, 0.5, 1.0}, .weights = {1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0}},
                        rule);
                  };
                }});
}

}  // namespace thaw
