#include "samplers/sampler.h"
#include "samplers/singlestep.h"

namespace thaw {

void register_sampler_dpm_2s(SamplerRegistry& registry) {
  registry.add(
      {{.name = "dpm_2s",
        .summary = "second-order singlestep in lambda on the noise prediction; first order into the clean level",
        .source = "Lu et al. 2022 (DPM-Solver), algorithm 1 and 4",
        .options = stage_options(2),
        .traits = {"refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
       [](const Settings& settings) -> Solver {
         return [stages = read_stages(settings, 2)](const Grid& grid) {
           return singlestep_plan(grid, "dpm_2s", 2, {.is_data = false}, stages);
         };
       }});
}

}  // namespace thaw
