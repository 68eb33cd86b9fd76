#include "samplers/sampler.h"
#include "samplers/singlestep_grid.h"

namespace thaw {

void register_sampler_dpmpp_singlestep(SamplerRegistry& registry) {
  std::vector<Option> options = grid_singlestep_options();
  options.push_back({"tau2", 0.0, "squared noise strength: 0 the probability flow, 1 the reverse SDE", 0.0, 10.0});
  options.push_back(Option{.name = "compat",
                           .fallback = std::string("none"),
                           .help = "diffusers: the wrong sign of its order 3 SDE heun (variance of order 1)",
                           .choices = {"none", "diffusers"}});
  registry.add({{.name = "dpmpp_singlestep",
                 .summary = "DPM-Solver++ singlestep with the grid's levels as stages: orders 1, 2 (, 3) repeating",
                 .source = "Lu et al. 2022 (DPM-Solver++), algorithm 1; diffusers, DPMSolverSinglestepScheduler",
                 .options = options,
                 .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=1", "order=2"}},
                [](const Settings& settings) -> Solver {
                  GridSinglestep own = read_grid_singlestep(settings);
                  own.form.tau2 = settings.number("tau2");
                  own.has_wrong_sign = settings.text("compat") == "diffusers";
                  if (own.has_wrong_sign && (own.order < 3 || !own.is_heun || own.form.tau2 != 1.0))
                    settings.fail("compat", "diffusers has a fault only with order 3, solver_type heun, tau2 1.");
                  return [own](const Grid& grid) { return grid_singlestep_plan(grid, "dpmpp_singlestep", own); };
                }});
}

}  // namespace thaw
