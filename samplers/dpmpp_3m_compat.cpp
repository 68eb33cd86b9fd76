#include "samplers/exponential.h"

namespace thaw {

void register_sampler_dpmpp_3m_compat(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_3m_compat",
                 .summary = "DPM-Solver++ 3M as its authors, k-diffusion and diffusers ship it: second order, since "
                            "half of the second difference is missing",
                 .source = "Lu et al. 2022, published code; diffusers 0.42, DPMSolverMultistepScheduler",
                 .options = with_order_options({solver_type_option("midpoint")}),
                 .traits = {"evaluations_per_step=1", "order=3", "measured_order=2", "compat"}},
                [](const Settings& settings) {
                  return exponential_solver(
                      {.predictor = read_order_rule(settings, 3),
                       .rule = {.slope = read_slope_rule(settings), .curvature = CurvatureRule::kHalved}});
                }});
}

}  // namespace thaw
