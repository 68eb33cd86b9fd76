#include "samplers/exponential.h"

namespace thaw {

void register_sampler_dpmpp_3m_sde_compat_hf(SamplerRegistry& registry) {
  registry.add(
      {{.name = "dpmpp_3m_sde_compat_hf",
        .summary = "diffusers' third-order sde-dpmsolver++: a wrong sign in the second difference makes it first order",
        .source = "diffusers 0.42, DPMSolverMultistepScheduler, algorithm_type sde-dpmsolver++",
        .options = with_order_options({solver_type_option("midpoint"), noise_strength_option()}),
        .traits = {"stochastic", "evaluations_per_step=1", "order=2", "measured_order=1", "compat"}},
       [](const Settings& settings) {
         return exponential_solver(
             {.predictor = read_order_rule(settings, 3),
              .rule = {.slope = read_slope_rule(settings), .curvature = CurvatureRule::kWrongSign},
              .noise = {.tau2 = settings.number("tau2")}});
       }});
}

}  // namespace thaw
