#include <cmath>

#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct Boundary {
  bool is_timestep = false;
  double timestep_scaling = 10.0;
  double sigma_data = 0.5;
};

// f(x) = c_skip x + c_out D with the scalings of Song et al. 2023 in the scaled timestep, as LCM's release has them.
FirstOrder lcm_step(const Grid& grid, std::size_t i, const Boundary& boundary) {
  const Level& t = grid[i + 1];
  FirstOrder step{.keep = 0.0, .pull = t.alpha, .fresh = t.sigma};
  if (!boundary.is_timestep) return step;
  const double scaled = grid.times[i] * boundary.timestep_scaling;
  const double data2 = boundary.sigma_data * boundary.sigma_data;
  step.keep = t.alpha * data2 / (scaled * scaled + data2);
  step.pull = t.alpha * scaled / std::sqrt(scaled * scaled + data2);
  return step;
}

}  // namespace

void register_sampler_lcm(SamplerRegistry& registry) {
  registry.add(
      {{.name = "lcm",
        .summary = "latent consistency sampling: jump to the data, add fresh noise of the next level",
        .source = "Luo et al. 2023 (latent consistency models), algorithm 3 and section 4.1",
        .options = {Option{.name = "boundary",
                           .fallback = std::string("none"),
                           .help = "timestep: mixes x into the data by c_skip and c_out of the timestep (tables of T "
                                   "steps), which does not keep a point mass",
                           .choices = {"none", "timestep"}},
                    {"timestep_scaling", 10.0, "factor of the timestep in c_skip and c_out", 1e-3, 1e6},
                    {"sigma_data", 0.5, "data spread in c_skip and c_out", 1e-3, 1e3}},
        .traits = {"stochastic", "evaluations_per_step=1"}},
       [](const Settings& s) -> Solver {
         const Boundary boundary{s.text("boundary") == "timestep", s.number("timestep_scaling"),
                                 s.number("sigma_data")};
         return [boundary](const Grid& grid) {
           return first_order_plan(grid, [boundary](const Grid& g, std::size_t i) { return lcm_step(g, i, boundary); });
         };
       }});
}

}  // namespace thaw
