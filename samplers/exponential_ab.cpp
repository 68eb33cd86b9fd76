#include "samplers/exponential.h"

namespace thaw {

void register_sampler_exponential_ab(SamplerRegistry& registry) {
  registry.add({{.name = "exponential_ab",
                 .summary = "exponential Adams-Bashforth over the data prediction, exact weights at every order",
                 .source = "Hochbruck and Ostermann 2010, section 2.5; order 1 is DDIM, 3 the right DPM-Solver++ 3M",
                 .options = with_order_options({order_option(4, 4)}),
                 .traits = {"evaluations_per_step=1", "order=4"}},
                [](const Settings& settings) {
                  const int order = static_cast<int>(settings.integer("order"));
                  return exponential_solver({.predictor = read_order_rule(settings, order)});
                }});
}

}  // namespace thaw
