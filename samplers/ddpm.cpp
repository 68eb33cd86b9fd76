#include <cmath>

#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// Standard deviation of q(x_s | x_t), beta of the step in Ho et al. 2020, section 3.2; 0 into the clean level.
double large_fresh(const Level& s, const Level& t) {
  if (t.is_clean()) return 0.0;
  const double ratio = s.alpha / t.alpha;
  return std::sqrt(s.sigma * s.sigma - ratio * ratio * t.sigma * t.sigma);
}

Plan ddpm(const Grid& grid, bool has_large_variance) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Reg d = b.evaluate(x, grid[i]);
    const auto [keep, pull, posterior] = first_order(grid[i], grid[i + 1], 1.0);
    const double fresh = has_large_variance ? large_fresh(grid[i], grid[i + 1]) : posterior;
    x = b.combine(keep * x + pull * d, b.noise(grid[i], grid[i + 1], fresh));
    b.mark(x, grid[i + 1]);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_ddpm(SamplerRegistry& registry) {
  registry.add(
      {{.name = "ddpm",
        .summary = "ancestral sampling; `small` is the posterior variance for a point, `large` that for N(0, 1)",
        .source = "Ho et al. 2020, eq. 7 and section 3.2",
        .options = {Option{.name = "variance",
                           .fallback = std::string("small"),
                           .help = "of the noise added in a step",
                           .choices = {"small", "large"}}},
        .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
       [](const Settings& settings) -> Solver {
         return [is_large = settings.text("variance") == "large"](const Grid& g) { return ddpm(g, is_large); };
       }});
}

}  // namespace thaw
