#include "samplers/edict.h"
#include "samplers/inversion.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

Plan edict_inversion(const Grid& grid, const Edict& edict, bool returns) {
  expect_finite_rho(grid, "edict_inversion");
  Builder b(grid);
  EdictPair pair{b.input(), b.input()};
  for (std::size_t i = grid.steps(); i-- > 0;) {
    pair = edict.up(b, grid, i, pair);
    b.mark(pair.x, grid[i]);
  }
  if (!returns) return finish_inverted(b, pair.x);
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    pair = edict.down(b, grid, i, pair);
    b.mark(pair.x, grid[i + 1]);
  }
  return finish_round_trip(b, pair.x);
}

}  // namespace

void register_sampler_edict_inversion(SamplerRegistry& registry) {
  std::vector<Option> options = edict_options();
  options.push_back(round_trip_option());
  registry.add(
      {{.name = "edict_inversion",
        .summary = "the exact inverse of edict's steps, from two equal states; marginals hold to first order only",
        .source = "Wallace et al. 2022 (EDICT), eq. 15",
        .options = options,
        .traits = {"inverts", "path_bound", "breaks_marginals", "refuses_alpha_zero", "evaluations_per_step=2"}},
       [](const Settings& settings) -> Solver {
         return [edict = read_edict(settings), returns = settings.flag("round_trip")](const Grid& grid) {
           return edict_inversion(grid, edict, returns);
         };
       }});
}

}  // namespace thaw
