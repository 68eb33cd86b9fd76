#include <cmath>

#include "core/math/phi.h"
#include "samplers/adaptive.h"

namespace thaw {
namespace {

// Exponential Runge-Kutta in lambda, where dy/dlambda = -y + D(y): the linear part is exact, so that a constant
// estimate, however stiff the equation is in rho, costs one step. Hochbruck and Ostermann 2005, the third-order family
// (5.8) with c2 = 1/2, c3 = 1, beside the second-order method of its first two stages.
class ExponentialPair : public EmbeddedPair {
 public:
  int evaluations() const override { return 2; }

  Reg slope(Machine& machine, Reg x, const Level& s) const override { return machine.evaluate(x, s); }

  Trial step(Machine& machine, const Grid& grid, Reg x, Reg d1, const Level& s, const Level& t) const override {
    constexpr double c2 = 0.5, c3 = 1.0;
    constexpr double gamma = (3.0 * c3 * c3 * c3 - 2.0 * c3) / (c2 * (2.0 - 3.0 * c2));
    const double h = t.lambda() - s.lambda();
    const Level middle = grid.at_lambda(s.lambda() + c2 * h);
    const auto state = [&](const Level& at, const Expr& data) {
      return machine.combine((at.sigma / s.sigma) * Expr(x) + (at.alpha * h) * data);
    };
    const Reg d2 = machine.evaluate(state(middle, c2 * phi(1, -c2 * h) * Expr(d1)), middle);
    const double a32 = gamma * c2 * phi(2, -c2 * h) + c3 * c3 / c2 * phi(2, -c3 * h);
    const double a31 = c3 * phi(1, -c3 * h) - a32;
    const Reg d3 = machine.evaluate(state(t, a31 * Expr(d1) + a32 * Expr(d2)), t);
    const double b3 = phi(2, -h) / (gamma * c2 + c3);
    const double b2 = gamma * b3, b1 = phi(1, -h) - b2 - b3;
    const double low2 = phi(2, -h) / c2, low1 = phi(1, -h) - low2;
    const Reg end = state(t, b1 * Expr(d1) + b2 * Expr(d2) + b3 * Expr(d3));
    const Reg error =
        machine.combine((t.alpha * h) * ((b1 - low1) * Expr(d1) + (b2 - low2) * Expr(d2) + b3 * Expr(d3)));
    return {.x = end, .error = error, .scale = end};
  }
};

}  // namespace

std::shared_ptr<const EmbeddedPair> make_exponential_pair() {
  return std::make_shared<ExponentialPair>();
}

void register_sampler_res_adaptive(SamplerRegistry& registry) {
  registry.add({{.name = "res_adaptive",
                 .summary = "stiff-aware steps chosen by their error: exponential Runge-Kutta 3(2) in lambda, exact "
                            "where the estimate is constant; of the grid only the ends count",
                 .source = "Hochbruck and Ostermann 2005, \"Explicit exponential Runge-Kutta methods\", 5.8; "
                           "Zhang et al. 2023 (RES)",
                 .options = adaptive_options(1e-3, 1e-3),
                 .traits = {"adaptive", "refuses_alpha_zero", "evaluations_per_step=3", "order=3"}},
                [](const Settings& settings) -> Solver {
                  return make_adaptive(make_exponential_pair(),
                                       read_adaptive(settings, "res_adaptive", {.p = 0.4, .i = 0.3, .order = 3.0}));
                }});
}

}  // namespace thaw
