#include <cmath>

#include "core/base/text.h"
#include "core/math/phi.h"
#include "samplers/first_order.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct Nodes {
  double c2 = 0.5;
  double c3 = 1.0;
  /// b_2 / b_3 from b_2 c_2^2 + b_3 c_3^2 = 2 phi_3 at 0. Zhang et al. 2023 print c_3^3, the same only at c_3 = 1.
  double gamma() const { return c3 * (3.0 * c3 - 2.0) / (c2 * (2.0 - 3.0 * c2)); }
};

Plan res_3s(const Grid& grid, const Nodes& nodes) {
  expect_finite_rho(grid, "res_3s");
  Builder b(grid);
  Reg x = b.input();
  const auto [c2, c3] = nodes;
  const double gamma = nodes.gamma();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    if (t.is_clean()) {
      const auto [keep, pull, fresh] = first_order(s, t, 0.0);
      x = b.combine(keep * x + pull * d);
    } else {
      const double h = t.lambda() - s.lambda();
      const auto state = [&](const Level& level, const Expr& sum) {
        return (level.sigma / s.sigma) * Expr(x) + (level.alpha * h) * sum;
      };
      const auto denoise = [&](const Level& level, const Expr& sum) {
        return b.evaluate(b.combine(state(level, sum), Role::kStage), level);
      };
      const Reg d2 = denoise(grid.at_lambda(s.lambda() + c2 * h), c2 * phi(1, -c2 * h) * d);
      const double a32 = gamma * c2 * phi(2, -c2 * h) + c3 * c3 / c2 * phi(2, -c3 * h);
      const double a31 = c3 * phi(1, -c3 * h) - a32;
      // At c3 = 1 the stage is asked at t itself, not at a level rounded from its lambda.
      const Level third = c3 == 1.0 ? t : grid.at_lambda(s.lambda() + c3 * h);
      const Reg d3 = denoise(third, a31 * Expr(d) + a32 * Expr(d2));
      const double b3 = phi(2, -h) / (gamma * c2 + c3);
      const double b2 = gamma * b3;
      x = b.combine(state(t, (phi(1, -h) - b2 - b3) * Expr(d) + b2 * Expr(d2) + b3 * Expr(d3)));
    }
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_res_3s(SamplerRegistry& registry) {
  registry.add({{.name = "res_3s",
                 .summary = "third-order exponential Runge-Kutta in lambda; first order into the clean level",
                 .source = "Hochbruck and Ostermann 2005, eq. 5.9; Zhang et al. 2023 (refined exponential solver)",
                 .options = {{"c2", 0.5, "second stage, in shares of the step; not 2/3", 0.01, 1.0},
                             {"c3", 1.0, "third stage, in shares of the step", 0.01, 1.0}},
                 .traits = {"refuses_alpha_zero", "evaluations_per_step=3", "order=3"}},
                [](const Settings& settings) -> Solver {
                  const Nodes nodes{settings.number("c2"), settings.number("c3")};
                  if (std::abs(nodes.c2 - 2.0 / 3.0) < 1e-6 || std::abs(nodes.gamma() * nodes.c2 + nodes.c3) < 1e-6)
                    settings.fail("c2", concat("gives no third order with c3 = ", nodes.c3, ", got ", nodes.c2, "."));
                  return [nodes](const Grid& grid) { return res_3s(grid, nodes); };
                }});
}

}  // namespace thaw
