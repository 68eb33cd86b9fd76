#include "samplers/cfgpp.h"
#include "samplers/sampler.h"

namespace thaw {

void register_sampler_euler_cfgpp(SamplerRegistry& registry) {
  registry.add({{.name = "euler_cfgpp",
                 .summary = "Euler in sigma / alpha along the unguided noise estimate; ddim_cfgpp with eta 0",
                 .source = "Chung et al. 2024 (CFG++), algorithm 2; ComfyUI, sample_euler_cfg_pp",
                 .traits = {"evaluations_per_step=1", "order=1"}},
                [](const Settings&) -> Solver { return [](const Grid& grid) { return cfgpp_plan(grid, 0.0); }; }});
}

}  // namespace thaw
