#include "samplers/sampler.h"
#include "samplers/singlestep_grid.h"

namespace thaw {

void register_sampler_dpm_singlestep(SamplerRegistry& registry) {
  registry.add({{.name = "dpm_singlestep",
                 .summary = "DPM-Solver singlestep with the grid's levels as stages: orders 1, 2 (, 3) repeating",
                 .source = "Lu et al. 2022 (DPM-Solver), algorithms 1 and 2; diffusers, DPMSolverSinglestepScheduler",
                 .options = grid_singlestep_options(),
                 .traits = {"refuses_alpha_zero", "evaluations_per_step=1", "order=2"}},
                [](const Settings& settings) -> Solver {
                  GridSinglestep own = read_grid_singlestep(settings);
                  own.form.is_data = false;
                  return [own](const Grid& grid) { return grid_singlestep_plan(grid, "dpm_singlestep", own); };
                }});
}

}  // namespace thaw
