#include "samplers/polynomial.h"

namespace thaw {

void register_sampler_ipndm(SamplerRegistry& registry) {
  registry.add({{.name = "ipndm",
                 .summary = "Adams-Bashforth weights of even steps on whatever grid: second order, good at few steps",
                 .source = "Zhang and Chen 2023 (DEIS), improved PNDM; Liu et al. 2022 (PNDM), eq. 12",
                 .options = {order_option(4, 4), final_order_option("one")},
                 .traits = {"evaluations_per_step=1", "order=2"}},
                [](const Settings& settings) -> Solver {
                  const int order = static_cast<int>(settings.integer("order"));
                  const RhoMultistep method{.orders = read_rho_order_rule(settings, order),
                                            .weights = even_adams_bashforth};
                  return [method](const Grid& grid) { return rho_multistep(grid, method); };
                }});
}

}  // namespace thaw
