#include "samplers/polynomial.h"

namespace thaw {

void register_sampler_lms(SamplerRegistry& registry) {
  registry.add({{.name = "lms",
                 .summary = "linear multistep in sigma / alpha with the weights of the actual step lengths",
                 .source = "k-diffusion, sample_lms; Hairer, Norsett and Wanner 1993, III.5",
                 .options = {order_option(4, 4), final_order_option("one")},
                 .traits = {"evaluations_per_step=1", "order=4"}},
                variable_step_solver});
}

}  // namespace thaw
