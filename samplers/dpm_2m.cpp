#include "samplers/exponential.h"

namespace thaw {

void register_sampler_dpm_2m(SamplerRegistry& registry) {
  registry.add({{.name = "dpm_2m",
                 .summary = "DPM-Solver 2 as a multistep method: the noise prediction over lambda",
                 .source = "Lu et al. 2022 (DPM-Solver), in the multistep form of DPM-Solver++, algorithm 2",
                 .options = with_order_options({solver_type_option("midpoint")}),
                 .traits = {"evaluations_per_step=1", "order=2"}},
                [](const Settings& settings) {
                  return exponential_solver({.interpolated = Interpolated::kNoise,
                                             .predictor = read_order_rule(settings, 2),
                                             .rule = {.slope = read_slope_rule(settings)}});
                }});
}

}  // namespace thaw
