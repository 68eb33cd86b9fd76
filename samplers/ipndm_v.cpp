#include "samplers/polynomial.h"

namespace thaw {

void register_sampler_ipndm_v(SamplerRegistry& registry) {
  registry.add({{.name = "ipndm_v",
                 .summary = "iPNDM with the weights of the actual step lengths, right at every order: the same as lms",
                 .source = "Zhang and Chen 2023 (DEIS), appendix, iPNDM; Hairer, Norsett and Wanner 1993, III.5",
                 .options = {order_option(4, 4), final_order_option("one")},
                 .traits = {"evaluations_per_step=1", "order=4"}},
                variable_step_solver});
}

}  // namespace thaw
