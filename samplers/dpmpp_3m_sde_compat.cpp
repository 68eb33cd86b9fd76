#include "samplers/exponential.h"

namespace thaw {

void register_sampler_dpmpp_3m_sde_compat(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_3m_sde_compat",
                 .summary = "DPM++ 3M SDE as k-diffusion ships it: half of the second difference is missing",
                 .source = "k-diffusion, sample_dpmpp_3m_sde",
                 .options = with_order_options({solver_type_option("heun"), noise_strength_option()}),
                 .traits = {"stochastic", "evaluations_per_step=1", "order=2", "compat"}},
                [](const Settings& settings) {
                  return exponential_solver(
                      {.predictor = read_order_rule(settings, 3),
                       .rule = {.slope = read_slope_rule(settings), .curvature = CurvatureRule::kHalved},
                       .noise = {.tau2 = settings.number("tau2")}});
                }});
}

}  // namespace thaw
