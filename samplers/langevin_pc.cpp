#include <cmath>

#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct LangevinOptions {
  double snr = 0.16;
  std::int64_t corrections = 1;
};

// Song et al. 2021 (score SDE), algorithms 4 and 5: x += step g + sqrt(2 step) z with the score g = -eps / sigma and
// step = 2 (snr |z| / |g|)^2, norms averaged over the batch. Their factor alpha_i = 1 - beta_i tends to 1 as levels
// grow and is left out, so that all paths agree.
Reg correct(Machine& machine, Reg x, const Level& level, double snr, std::uint32_t ordinal) {
  const Reg d = machine.evaluate(x, level);
  const Reg eps = machine.combine((Expr(x) - level.alpha * Expr(d)) / level.sigma);
  const Reg z = machine.combine({}, Builder::fresh(kLangevinStream, ordinal, 1.0));
  const double norm = machine.mean_norm(eps);
  if (!(norm > 0.0)) return x;  // no score to follow
  const double ratio = snr * machine.mean_norm(z) / norm;
  return machine.combine(Expr(x) - (2.0 * ratio * ratio * level.sigma) * Expr(eps) +
                         (2.0 * ratio * level.sigma) * Expr(z));
}

Reg langevin_pc(Machine& machine, const Grid& grid, Reg x, const LangevinOptions& options) {
  std::uint32_t ordinal = 0;
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = machine.evaluate(x, s);
    const FirstOrder step = first_order(s, t, 1.0);
    const Expr mean = step.keep * Expr(x) + step.pull * Expr(d);
    x = step.fresh > 0.0 ? machine.combine(mean, Builder::noise(s, t, step.fresh)) : machine.combine(mean);
    for (std::int64_t k = 0; k < options.corrections && !t.is_clean(); ++k) {
      x = correct(machine, x, t, options.snr, ordinal++);
      machine.keep_only({x});
    }
    machine.keep_only({x});
    machine.mark(x, t);
  }
  return x;
}

}  // namespace

void register_sampler_langevin_pc(SamplerRegistry& registry) {
  registry.add(
      {{.name = "langevin_pc",
        .summary = "ancestral steps, each corrected by Langevin steps at its own level; a correction of finite "
                   "size leaves the noise variance about 4 snr^4 too large",
        .source = "Song et al. 2021 (score SDE), algorithms 2 to 5, section 4.2",
        .options = {{"snr", 0.16, "signal-to-noise ratio of a correction", 1e-4, 1.0},
                    {"corrections", std::int64_t{1}, "Langevin steps a level", 0.0, 100.0}},
        .traits = {"adaptive", "stochastic", "breaks_marginals", "evaluations_per_step=2"}},
       [](const Settings& settings) -> Solver {
         const LangevinOptions options{settings.number("snr"), settings.integer("corrections")};
         return Solver::adaptive(
             "langevin_pc",
             [options](Machine& machine, const Grid& grid, Reg x) { return langevin_pc(machine, grid, x, options); },
             [options](const Grid& grid) -> std::optional<std::int64_t> {
               const auto steps = static_cast<std::int64_t>(grid.steps());
               return steps + options.corrections * (grid.back().is_clean() ? steps - 1 : steps);
             });
       }});
}

}  // namespace thaw
