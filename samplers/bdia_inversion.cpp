#include "samplers/bdia.h"
#include "samplers/inversion.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

Plan bdia_inversion(const Grid& grid, double gamma, bool returns) {
  Builder b(grid);
  const std::size_t n = grid.steps();
  BdiaPair pair{b.input(), ddim_up(b, b.input(), grid[n], grid[n - 1])};
  b.mark(pair.now, grid[n - 1]);
  for (std::size_t i = n - 1; i-- > 0;) {
    pair = bdia_step(b, pair, 1.0 / gamma, {grid[i + 2], grid[i + 1], grid[i]});
    b.mark(pair.now, grid[i]);
  }
  if (!returns) return finish_inverted(b, pair.now);
  pair = {pair.now, pair.before};
  b.mark(pair.now, grid[1]);
  for (std::size_t i = 1; i < n; ++i) {
    pair = bdia_step(b, pair, gamma, {grid[i - 1], grid[i], grid[i + 1]});
    b.mark(pair.now, grid[i + 1]);
  }
  return finish_round_trip(b, pair.now);
}

}  // namespace

void register_sampler_bdia_inversion(SamplerRegistry& registry) {
  registry.add({{.name = "bdia_inversion",
                 .summary = "the exact inverse of bdia's steps; the first one up is ddim_inversion's",
                 .source = "Zhang, Lewis and Kleijn 2023 (BDIA), eq. 23",
                 .options = {bdia_gamma_option(), round_trip_option()},
                 .traits = {"inverts", "path_bound", "evaluations_per_step=1"}},
                [](const Settings& settings) -> Solver {
                  return [gamma = settings.number("gamma"), returns = settings.flag("round_trip")](const Grid& grid) {
                    return bdia_inversion(grid, gamma, returns);
                  };
                }});
}

}  // namespace thaw
