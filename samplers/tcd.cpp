#include <algorithm>
#include <cmath>

#include "samplers/first_order.h"
#include "samplers/sampler.h"
#include "samplers/velocity.h"

namespace thaw {
namespace {

// The level at (1 - eta) of the time of grid[i]: of its timestep on a table, elsewhere of its path's own time.
Level intermediate(const Grid& grid, std::size_t i, double eta, bool has_floor) {
  const Level& t = grid[i];
  if (t.is_clean() || eta == 0.0) return t;
  if (!grid.at_time) return level_at_path_time(*grid.path, (1.0 - eta) * path_time(*grid.path, t));
  const double time = (1.0 - eta) * grid.times[i];
  return grid.at_time(has_floor ? std::floor(time) : time);
}

FirstOrder tcd_step(const Grid& grid, std::size_t i, double eta, bool has_floor) {
  const Level& t = grid[i + 1];
  const Level m = intermediate(grid, i + 1, eta, has_floor);
  // The state at m, scaled and noised up to t.
  const double direct = m.alpha > 0.0 ? std::min(t.sigma, t.alpha * m.rho()) : t.sigma;
  return first_order_direct(grid[i], t, direct);
}

}  // namespace

void register_sampler_tcd(SamplerRegistry& registry) {
  registry.add(
      {{.name = "tcd",
        .summary = "strategic stochastic sampling: down to (1 - eta) of the next time, then fresh noise up to it",
        .source = "Zheng et al. 2024 (trajectory consistency distillation), algorithm 4",
        .options = {{"eta", 0.3, "gamma of the paper: 0 is ddim, 1 multistep consistency sampling", 0.0, 1.0},
                    {"floor", true, "the intermediate timestep of a table rounded down, as released"}},
        .traits = {"stochastic", "path_bound", "evaluations_per_step=1"}},
       [](const Settings& settings) -> Solver {
         return [eta = settings.number("eta"), has_floor = settings.flag("floor")](const Grid& grid) {
           return first_order_plan(grid, [=](const Grid& g, std::size_t i) { return tcd_step(g, i, eta, has_floor); });
         };
       }});
}

}  // namespace thaw
