#include "samplers/exponential.h"

namespace thaw {

// With d0 = (D_0 - D_1) / r0, d1 = (D_1 - D_2) / r1: x_t = (sigma_t / sigma_s) x_s + alpha_t ((1 - e^-h) D_0 +
// h phi_2(-h) (d0 + (d0 - d1) r0 / (r0 + r1)) + 2 h phi_3(-h) (d0 - d1) / (r0 + r1)).
void register_sampler_dpmpp_3m(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_3m",
                 .summary = "third-order multistep in lambda, with the factor 2! that the published codes leave out",
                 .source = "Lu et al. 2022 (DPM-Solver++), appendix B; Hochbruck and Ostermann 2010, eq. 2.28",
                 .options = with_order_options({solver_type_option("midpoint")}),
                 .traits = {"evaluations_per_step=1", "order=3"}},
                [](const Settings& settings) {
                  return exponential_solver(
                      {.predictor = read_order_rule(settings, 3), .rule = {.slope = read_slope_rule(settings)}});
                }});
}

}  // namespace thaw
