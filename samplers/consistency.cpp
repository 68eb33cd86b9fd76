#include <algorithm>
#include <cmath>

#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {

void register_sampler_consistency(SamplerRegistry& registry) {
  registry.add({{.name = "consistency",
                 .summary = "multistep consistency sampling: jump to the data, add fresh noise of the next level",
                 .source = "Song et al. 2023 (consistency models), algorithm 1; Luo et al. 2023 (LCM), algorithm 3",
                 .options = {{"sigma_min", 0.0, "noise (sigma / alpha) the jump leaves in the data; 0.002 in the paper",
                              0.0, 1.0},
                             {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.5, 1.5}},
                 .traits = {"stochastic", "evaluations_per_step=1"}},
                [](const Settings& settings) -> Solver {
                  const double sigma_min = settings.number("sigma_min"), s_noise = settings.number("s_noise");
                  return [=](const Grid& grid) {
                    return first_order_plan(grid, [=](const Grid& g, std::size_t i) {
                      const Level& t = g[i + 1];
                      const double floor = t.alpha * sigma_min;
                      const double fresh = std::sqrt(std::max(0.0, t.sigma * t.sigma - floor * floor));
                      return FirstOrder{.keep = 0.0, .pull = t.alpha, .fresh = s_noise * fresh};
                    });
                  };
                }});
}

}  // namespace thaw
