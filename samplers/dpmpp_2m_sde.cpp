#include "samplers/exponential.h"

namespace thaw {

void register_sampler_dpmpp_2m_sde(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_2m_sde",
                 .summary = "DPM-Solver++ 2M of the reverse SDE",
                 .source = "Lu et al. 2022 (DPM-Solver++), section 5; k-diffusion, sample_dpmpp_2m_sde",
                 .options = with_order_options({solver_type_option("midpoint"), noise_strength_option()}),
                 .traits = {"stochastic", "evaluations_per_step=1", "order=2"}},
                [](const Settings& settings) {
                  return exponential_solver({.predictor = read_order_rule(settings, 2),
                                             .rule = {.slope = read_slope_rule(settings)},
                                             .noise = {.tau2 = settings.number("tau2")}});
                }});
}

}  // namespace thaw
