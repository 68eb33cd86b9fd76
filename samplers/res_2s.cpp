#include "samplers/sampler.h"
#include "samplers/singlestep.h"

namespace thaw {

void register_sampler_res_2s(SamplerRegistry& registry) {
  registry.add({{.name = "res_2s",
                 .summary = "second-order exponential Runge-Kutta in lambda; dpmpp_2s with solver_type heun",
                 .source = "Hochbruck and Ostermann 2005, table 5.3; Zhang et al. 2023 (refined exponential solver)",
                 .options = {{"c2", 0.5, "second stage, in shares of the step", 0.01, 1.0}},
                 .traits = {"refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
                [](const Settings& settings) -> Solver {
                  return [stages = Stages{.r1 = settings.number("c2"), .is_heun = true}](const Grid& grid) {
                    return singlestep_plan(grid, "res_2s", 2, {}, stages);
                  };
                }});
}

}  // namespace thaw
