#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {

void register_sampler_dpmpp_1s(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_1s",
                 .summary = "DPM-Solver++ of order 1, the deterministic ddim step",
                 .source = "Lu et al. 2022 (DPM-Solver++), eq. 4.1",
                 .traits = {"evaluations_per_step=1", "order=1"}},
                [](const Settings&) -> Solver {
                  return [](const Grid& grid) {
                    return first_order_plan(
                        grid, [](const Grid& g, std::size_t i) { return first_order(g[i], g[i + 1], 0.0); });
                  };
                }});
}

}  // namespace thaw
