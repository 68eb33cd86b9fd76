#include "samplers/exponential.h"

namespace thaw {

// On data at one point a step into sigma_t has the variance sigma_t^2 (1 + 2 (e^h - 1)^2) instead of sigma_t^2.
void register_sampler_sde_dpmsolver(SamplerRegistry& registry) {
  registry.add({{.name = "sde_dpmsolver",
                 .summary = "the reverse SDE over the noise prediction; does not keep the marginals and adds variance "
                            "at few steps",
                 .source = "Lu et al. 2022 (DPM-Solver++), eq. 17; diffusers 0.42, algorithm_type sde-dpmsolver",
                 .options = with_order_options({order_option(2, 2), solver_type_option("midpoint")}),
                 .traits = {"stochastic", "evaluations_per_step=1", "order=2", "breaks_marginals"}},
                [](const Settings& settings) {
                  const int order = static_cast<int>(settings.integer("order"));
                  return exponential_solver({.interpolated = Interpolated::kNoise,
                                             .predictor = read_order_rule(settings, order),
                                             .rule = {.slope = read_slope_rule(settings)},
                                             .noise = {.tau2 = 1.0}});
                }});
}

}  // namespace thaw
