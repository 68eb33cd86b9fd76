#include "samplers/exponential.h"

namespace thaw {

void register_sampler_res_multistep(SamplerRegistry& registry) {
  registry.add(
      {{.name = "res_multistep",
        .summary = "second-order exponential multistep; the same as dpmpp_2m with solver_type heun",
        .source = "Zhang et al. 2023 (RES), algorithm 2",
        .options = with_order_options({}),
        .traits = {"evaluations_per_step=1", "order=2"}},
       [](const Settings& settings) { return exponential_solver({.predictor = read_order_rule(settings, 2)}); }});
}

}  // namespace thaw
