#include "samplers/sampler.h"
#include "samplers/singlestep.h"

namespace thaw {

void register_sampler_dpm_3s(SamplerRegistry& registry) {
  registry.add(
      {{.name = "dpm_3s",
        .summary = "third-order singlestep in lambda on the noise prediction; first order into the clean level",
        .source = "Lu et al. 2022 (DPM-Solver), algorithm 2 and 5",
        .options = stage_options(3),
        .traits = {"refuses_alpha_zero", "evaluations_per_step=3", "order=3"}},
       [](const Settings& settings) -> Solver {
         return [stages = read_stages(settings, 3)](const Grid& grid) {
           return singlestep_plan(grid, "dpm_3s", 3, {.is_data = false}, stages);
         };
       }});
}

}  // namespace thaw
