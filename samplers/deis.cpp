#include "samplers/exponential.h"

namespace thaw {

void register_sampler_deis(SamplerRegistry& registry) {
  registry.add({{.name = "deis",
                 .summary = "exponential Adams-Bashforth over the noise prediction in log(sigma / alpha)",
                 .source = "Zhang and Chen 2023 (DEIS), eq. 15, tAB in log rho",
                 .options = with_order_options({order_option(3, 4)}),
                 .traits = {"evaluations_per_step=1", "order=3"}},
                [](const Settings& settings) {
                  const int order = static_cast<int>(settings.integer("order"));
                  return exponential_solver(
                      {.interpolated = Interpolated::kNoise, .predictor = read_order_rule(settings, order)});
                }});
}

}  // namespace thaw
