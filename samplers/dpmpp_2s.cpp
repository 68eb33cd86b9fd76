#include "samplers/sampler.h"
#include "samplers/singlestep.h"

namespace thaw {

void register_sampler_dpmpp_2s(SamplerRegistry& registry) {
  registry.add(
      {{.name = "dpmpp_2s",
        .summary = "second-order singlestep in lambda on the data prediction; first order into the clean level",
        .source = "Lu et al. 2022 (DPM-Solver++), algorithm 1",
        .options = stage_options(2),
        .traits = {"refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
       [](const Settings& settings) -> Solver {
         return [stages = read_stages(settings, 2)](const Grid& grid) {
           return singlestep_plan(grid, "dpmpp_2s", 2, {.is_data = true}, stages);
         };
       }});
}

}  // namespace thaw
