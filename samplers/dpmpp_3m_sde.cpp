#include "samplers/exponential.h"

namespace thaw {

void register_sampler_dpmpp_3m_sde(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_3m_sde",
                 .summary = "DPM-Solver++ 3M of the reverse SDE, with the exact weight of the second difference",
                 .source = "Lu et al. 2022 (DPM-Solver++); Hochbruck and Ostermann 2010, eq. 2.28",
                 .options = with_order_options({solver_type_option("heun"), noise_strength_option()}),
                 .traits = {"stochastic", "evaluations_per_step=1", "order=2"}},
                [](const Settings& settings) {
                  return exponential_solver({.predictor = read_order_rule(settings, 3),
                                             .rule = {.slope = read_slope_rule(settings)},
                                             .noise = {.tau2 = settings.number("tau2")}});
                }});
}

}  // namespace thaw
