#include "samplers/exponential.h"

namespace thaw {

void register_sampler_dpm_3m(SamplerRegistry& registry) {
  registry.add(
      {{.name = "dpm_3m",
        .summary =
            "DPM-Solver 3 as a multistep method, exact weights; the same as deis of order 3 but for the second step",
        .source = "Lu et al. 2022 (DPM-Solver); Hochbruck and Ostermann 2010, eq. 2.28",
        .options = with_order_options({solver_type_option("midpoint")}),
        .traits = {"evaluations_per_step=1", "order=3"}},
       [](const Settings& settings) {
         return exponential_solver({.interpolated = Interpolated::kNoise,
                                    .predictor = read_order_rule(settings, 3),
                                    .rule = {.slope = read_slope_rule(settings)}});
       }});
}

}  // namespace thaw
