#include "samplers/exponential.h"

namespace thaw {

// x_t = (sigma_t / sigma_s) x_s + alpha_t ((1 - e^-h) D_0 + g (D_0 - D_1) / r), r = (lambda_s - lambda_prev) / h;
// g = (1 - e^-h) / 2 (midpoint) or h phi_2(-h) (heun).
void register_sampler_dpmpp_2m(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_2m",
                 .summary = "second-order multistep in lambda; first order into the clean level",
                 .source = "Lu et al. 2022 (DPM-Solver++), algorithm 2; heun: the exponential Adams-Bashforth weights",
                 .options = with_order_options({solver_type_option("midpoint")}),
                 .traits = {"evaluations_per_step=1", "order=2"}},
                [](const Settings& settings) {
                  return exponential_solver(
                      {.predictor = read_order_rule(settings, 2), .rule = {.slope = read_slope_rule(settings)}});
                }});
}

}  // namespace thaw
