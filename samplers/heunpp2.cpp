#include <algorithm>

#include "core/math/plan_builder.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// Slopes at the next two levels enter with weights rho / (n rho_0), n slopes in all: 0 as steps shrink, so that the
// order is 1 and not 2.
Plan heunpp2(const Grid& grid, const Churn& churn) {
  expect_finite_rho(grid, "heunpp2");
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level& t = grid[i + 1];
    const auto [start, s, d] = start_rho_step(b, grid, i, x, churn);
    const std::size_t further = std::min<std::size_t>(2, grid.steps() - 1 - i);
    const double unit = static_cast<double>(further + 1) * grid.front().rho();
    Expr slope = d;
    Reg ahead = start;
    Level at = s;
    Expr last = d;
    for (std::size_t k = 1; k <= further; ++k) {
      const Level& next = grid[i + k];
      ahead = b.combine(rho_step(ahead, last, at, next), Role::kStage);
      at = next;
      last = rho_slope(ahead, b.evaluate(ahead, at), at);
      slope += (at.rho() / unit) * (last - d);
    }
    x = b.combine(rho_step(start, slope, s, t));
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_heunpp2(SamplerRegistry& registry) {
  registry.add(
      {{.name = "heunpp2",
        .summary = "Heun++: mixes in the slopes of the next two levels by their share of the first sigma; "
                   "first order, since that share vanishes as sigma falls",
        .source = "ComfyUI, sample_heunpp2, after Carzit's sd-webui-samplers-scheduler",
        .options = Churn::options(),
        .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=3", "order=2", "measured_order=1"}},
       [](const Settings& settings) -> Solver {
         return [churn = Churn(settings)](const Grid& grid) { return heunpp2(grid, churn); };
       }});
}

}  // namespace thaw
