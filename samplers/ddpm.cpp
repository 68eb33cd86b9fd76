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
  return first_order_plan(grid, [has_large_variance](const Grid& g, std::size_t i) {
    FirstOrder step = first_order(g[i], g[i + 1], 1.0);
    if (has_large_variance) step.fresh = large_fresh(g[i], g[i + 1]);
    return step;
  });
}

// log variance = v log beta + (1 - v) log posterior, Nichol and Dhariwal 2021, eq. 15, with v mapped from [-1, 1].
Plan ddpm_learned(const Grid& grid) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const auto [keep, pull, posterior] = first_order(s, t, 1.0);
    if (t.is_clean()) {  // no noise, no variance to ask for
      x = b.combine(keep * x + pull * b.evaluate(x, s));
    } else {
      const auto outputs = b.evaluate(x, s, {OutputKind::kData, OutputKind::kVariance});
      NoiseTerm noise = b.noise(s, t, 1.0);
      noise.scale = outputs[1];
      noise.log_low = 2.0 * std::log(posterior);
      noise.log_high = 2.0 * std::log(large_fresh(s, t));
      x = b.combine(keep * x + pull * Expr(outputs[0]), noise);
    }
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_ddpm(SamplerRegistry& registry) {
  registry.add(
      {{.name = "ddpm",
        .summary = "ancestral sampling; `small` is the posterior variance for a point, `large` that for N(0, 1), "
                   "`learned` lies between, by a second network output",
        .source = "Ho et al. 2020, eq. 7 and section 3.2; Nichol and Dhariwal 2021, eq. 15",
        .options = {Option{.name = "variance",
                           .fallback = std::string("small"),
                           .help = "of the noise added in a step",
                           .choices = {"small", "large", "learned"}}},
        .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
       [](const Settings& settings) -> Solver {
         const std::string& variance = settings.text("variance");
         if (variance == "learned") return ddpm_learned;
         return [is_large = variance == "large"](const Grid& g) { return ddpm(g, is_large); };
       }});
}

}  // namespace thaw
