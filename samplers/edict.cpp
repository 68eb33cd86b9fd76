#include "samplers/edict.h"

#include <utility>

#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// x_t = a x_s + b eps(x_s): the ddim step in the paper's coefficients.
struct Step {
  double a = 1.0;
  double b = 0.0;
};

Step ddim_step(const Level& s, const Level& t) {
  const double a = t.alpha / s.alpha;
  return {a, t.sigma - a * s.sigma};
}

Expr noise_at(Builder& b, Reg x, const Level& s) {
  return rho_slope(x, b.evaluate(x, s), s);
}

}  // namespace

EdictPair Edict::down(Builder& b, const Grid& grid, std::size_t i, EdictPair pair) const {
  const bool is_swapped = is_alternating && i % 2 == 1;
  if (is_swapped) std::swap(pair.x, pair.y);
  const Level& s = grid[i];
  const Step step = ddim_step(s, grid[i + 1]);
  const Reg x = b.combine(step.a * Expr(pair.x) + step.b * noise_at(b, pair.y, s), Role::kStage);
  const Reg y = b.combine(step.a * Expr(pair.y) + step.b * noise_at(b, x, s), Role::kStage);
  EdictPair next;
  next.x = b.combine(p * Expr(x) + (1.0 - p) * Expr(y));
  next.y = b.combine(p * Expr(y) + (1.0 - p) * Expr(next.x));
  if (is_swapped) std::swap(next.x, next.y);
  return next;
}

EdictPair Edict::up(Builder& b, const Grid& grid, std::size_t i, EdictPair pair) const {
  const bool is_swapped = is_alternating && i % 2 == 1;
  if (is_swapped) std::swap(pair.x, pair.y);
  const Level& s = grid[i];
  const Step step = ddim_step(s, grid[i + 1]);
  const Reg y = b.combine((Expr(pair.y) - (1.0 - p) * Expr(pair.x)) / p, Role::kStage);
  const Reg x = b.combine((Expr(pair.x) - (1.0 - p) * Expr(y)) / p, Role::kStage);
  EdictPair next;
  next.y = b.combine((Expr(y) - step.b * noise_at(b, x, s)) / step.a);
  next.x = b.combine((Expr(x) - step.b * noise_at(b, next.y, s)) / step.a);
  if (is_swapped) std::swap(next.x, next.y);
  return next;
}

std::vector<Option> edict_options() {
  return {{"p", 0.93, "share of its own in the mixing of the two states", 0.5, 1.0},
          {"alternate", true, "odd steps let the second state go first"}};
}

Edict read_edict(const Settings& settings) {
  return {.p = settings.number("p"), .is_alternating = settings.flag("alternate")};
}

void register_sampler_edict(SamplerRegistry& registry) {
  registry.add(
      {{.name = "edict",
        .summary = "ddim on two coupled states, exactly invertible; asks about a state of the next level at this one, "
                   "so that marginals hold to first order only",
        .source = "Wallace et al. 2022 (EDICT), eq. 14",
        .options = edict_options(),
        .traits = {"path_bound", "breaks_marginals", "refuses_alpha_zero", "evaluations_per_step=2", "order=1"}},
       [](const Settings& settings) -> Solver {
         return [edict = read_edict(settings)](const Grid& grid) {
           expect_finite_rho(grid, "edict");
           Builder b(grid);
           EdictPair pair{b.input(), b.input()};
           for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
             pair = edict.down(b, grid, i, pair);
             b.mark(pair.x, grid[i + 1]);
           }
           return b.finish(pair.x);
         };
       }});
}

}  // namespace thaw
