#include <cmath>

#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {

void register_sampler_ctm(SamplerRegistry& registry) {
  registry.add({{.name = "ctm",
                 .summary = "gamma sampling: jump to sqrt(1 - gamma^2) of the next noise level, add the rest fresh",
                 .source = "Kim et al. 2024 (consistency trajectory models), algorithm 3",
                 .options = {{"gamma", 0.5, "0: deterministic, the ddim step; 1: multistep consistency", 0.0, 1.0}},
                 .traits = {"stochastic", "evaluations_per_step=1"}},
                [](const Settings& settings) -> Solver {
                  return [gamma = settings.number("gamma")](const Grid& grid) {
                    return first_order_plan(grid, [gamma](const Grid& g, std::size_t i) {
                      const double direct = g[i + 1].sigma * std::sqrt((1.0 - gamma) * (1.0 + gamma));
                      FirstOrder step = first_order_direct(g[i], g[i + 1], direct);
                      step.fresh = gamma * g[i + 1].sigma;
                      return step;
                    });
                  };
                }});
}

}  // namespace thaw
