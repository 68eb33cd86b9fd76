#include "samplers/polynomial.h"

namespace thaw {

void register_sampler_gradient_estimation(SamplerRegistry& registry) {
  registry.add({{.name = "gradient_estimation",
                 .summary = "Euler steps along gamma eps_0 + (1 - gamma) eps_1; gamma 1.5 on even steps is "
                            "Adams-Bashforth 2, others are first order",
                 .source = "Permenter and Yuan 2024, algorithm 2",
                 .options = {{"gamma", 2.0, "weight of the newest noise prediction", 0.0, 10.0}},
                 .traits = {"evaluations_per_step=1", "order=1"}},
                [](const Settings& settings) -> Solver {
                  const double gamma = settings.number("gamma");
                  const auto weights = [gamma](std::span<const double> nodes, double) {
                    return nodes.size() == 1 ? std::vector<double>{1.0} : std::vector<double>{gamma, 1.0 - gamma};
                  };
                  const RhoMultistep method{.orders = {.order = 2}, .weights = weights};
                  return [method](const Grid& grid) { return rho_multistep(grid, method); };
                }});
}

}  // namespace thaw
