#include <cmath>

#include "core/math/phi.h"
#include "core/math/plan_builder.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// lambda-polynomials have no weights into lambda = +inf, and a node at lambda = -inf (alpha = 0) carries no slope:
// order 1 in both cases. The first step has no history.
bool is_second_order(const Grid& grid, std::size_t i) {
  return i > 0 && !grid[i + 1].is_clean() && grid[i - 1].alpha > 0.0;
}

// x_t = (sigma_t / sigma_s) x_s + alpha_t ((1 - e^-h) D_0 + g (D_0 - D_1) / r), r = (lambda_s - lambda_prev) / h;
// g = (1 - e^-h) / 2 (midpoint) or h phi_2(-h) (heun).
Plan dpmpp_2m(const Grid& grid, bool is_midpoint) {
  Builder b(grid);
  Reg x = b.input();
  Reg previous = kNoReg;
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    const double h = t.lambda() - s.lambda();
    const double pull = -std::expm1(-h);
    Expr data = pull * d;
    if (is_second_order(grid, i)) {
      const double r = (s.lambda() - grid[i - 1].lambda()) / h;
      const double g = is_midpoint ? 0.5 * pull : h * phi(2, -h);
      data += (g / r) * (Expr(d) - previous);
    }
    x = b.combine((t.sigma / s.sigma) * x + t.alpha * data);
    b.mark(x, t);
    previous = d;
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_dpmpp_2m(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_2m",
                 .summary = "second-order multistep in lambda; first order into the clean level",
                 .source = "Lu et al. 2022 (DPM-Solver++), algorithm 2; heun: the exponential Adams-Bashforth weights",
                 .options = {Option{.name = "solver_type",
                                    .fallback = std::string("midpoint"),
                                    .help = "weight of the slope",
                                    .choices = {"midpoint", "heun"}}},
                 .traits = {"evaluations_per_step=1", "order=2"}},
                [](const Settings& settings) -> Solver {
                  return [is_midpoint = settings.text("solver_type") == "midpoint"](const Grid& grid) {
                    return dpmpp_2m(grid, is_midpoint);
                  };
                }});
}

}  // namespace thaw
