#include <algorithm>
#include <cmath>

#include "samplers/multistep.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// Like DPM-Solver++ 2M, but the pull towards the data takes the mean of the last two step lengths, so that on an
// uneven grid not even a constant prediction is kept.
Plan dpmpp_2m_v2(const Grid& grid) {
  Builder b(grid);
  Reg x = b.input();
  Reg previous = kNoReg;
  for (std::size_t i = 0; i < grid.steps(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    const double h = t.lambda() - s.lambda();
    Expr pull = -std::expm1(-h) * Expr(d);
    if (i > 0 && !t.is_clean() && grid[i - 1].alpha > 0.0) {
      const double last = s.lambda() - grid[i - 1].lambda();
      const double r = std::max(h, last) / std::min(h, last);
      pull = -std::expm1(-0.5 * (h + last)) * (d + (0.5 / r) * (Expr(d) - previous));
    }
    x = b.combine((t.sigma / s.sigma) * x + t.alpha * pull);
    b.mark(x, t);
    previous = d;
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_dpmpp_2m_v2(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_2m_v2",
                 .summary = "a community variant of DPM-Solver++ 2M: the same where lambda is even, first order and "
                            "biased elsewhere, since it averages step lengths",
                 .source = "stable-diffusion.cpp, DPM++ (2M) v2",
                 .traits = {"evaluations_per_step=1", "order=2", "measured_order=1", "breaks_marginals", "compat"}},
                [](const Settings&) -> Solver { return dpmpp_2m_v2; }});
}

}  // namespace thaw
