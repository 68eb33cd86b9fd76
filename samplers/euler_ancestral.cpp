#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {

void register_sampler_euler_ancestral(SamplerRegistry& registry) {
  registry.add(
      {{.name = "euler_ancestral",
        .summary = "Euler down to less noise than the next level has, then fresh noise up to it; ddim by eta",
        .source = "Song et al. 2021 (DDIM), eq. 12 and 16 in sigma / alpha; k-diffusion, sample_euler_ancestral",
        .options = {{"eta", 1.0, "share of noise renewed in a step", 0.0, 1.0},
                    {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.5, 1.5}},
        .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
       [](const Settings& settings) -> Solver {
         const double eta = settings.number("eta"), s_noise = settings.number("s_noise");
         return [eta, s_noise](const Grid& grid) {
           return first_order_plan(grid, [=](const Grid& g, std::size_t i) {
             FirstOrder step = first_order(g[i], g[i + 1], eta);
             step.fresh *= s_noise;
             return step;
           });
         };
       }});
}

}  // namespace thaw
