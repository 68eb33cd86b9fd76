#include "samplers/er_sde.h"
#include "samplers/sampler.h"

namespace thaw {

void register_sampler_er_sde_compat(SamplerRegistry& registry) {
  std::vector<Option> options = er_sde_options();
  options.push_back(Option{.name = "integrals",
                           .fallback = std::string("sum"),
                           .help = "sum: left sum of 200 points; exact: Gauss-Legendre",
                           .choices = {"sum", "exact"}});
  registry.add({{.name = "er_sde_compat",
                 .summary = "er_sde as released: the third order lacks the shift of the slope and is second order, its "
                            "integrals are left sums of 200 points and lower it further",
                 .source = "Cui et al. 2023 (ER-SDE-Solvers), algorithm 3 as released; ComfyUI, sample_er_sde",
                 .options = options,
                 .traits = {"stochastic", "compat", "evaluations_per_step=1", "order=3", "measured_order=1.5"}},
                [](const Settings& settings) -> Solver {
                  ErSde own = read_er_sde(settings);
                  own.has_shift = false;
                  own.sums_left = settings.text("integrals") == "sum";
                  return [own](const Grid& grid) { return er_sde_plan(grid, own); };
                }});
}

}  // namespace thaw
