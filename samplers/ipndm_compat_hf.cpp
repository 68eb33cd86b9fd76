#include "samplers/polynomial.h"

namespace thaw {

// The peer forms eps = sigma x + alpha F; its first level is hard-coded to alpha = 0, so that F never counts there.
void register_sampler_ipndm_compat_hf(SamplerRegistry& registry) {
  registry.add({{.name = "ipndm_compat_hf",
                 .summary = "diffusers' iPNDM: the first prediction is multiplied by 0, the state itself is taken for "
                            "the noise",
                 .source = "diffusers 0.42, IPNDMScheduler",
                 .options = {order_option(4, 4), final_order_option("full")},
                 .traits = {"evaluations_per_step=1", "order=2", "measured_order=1.36", "compat", "breaks_marginals"}},
                [](const Settings& settings) -> Solver {
                  const int order = static_cast<int>(settings.integer("order"));
                  const RhoMultistep method{.orders = read_rho_order_rule(settings, order),
                                            .weights = even_adams_bashforth,
                                            .ignores_first_data = true};
                  return [method](const Grid& grid) { return rho_multistep(grid, method); };
                }});
}

}  // namespace thaw
