#include "samplers/first_order.h"

#include <cmath>

#include "core/math/plan_builder.h"

namespace thaw {

FirstOrder first_order(const Level& s, const Level& t, double eta) {
  const double h = t.lambda() - s.lambda();
  // expm1 keeps 1 - e^-2h and 1 - q e^-h exact when two levels are close.
  const double renewed = -std::expm1(-2.0 * h);
  const double lost = eta * eta * renewed;  // 1 - q^2, q = direct / sigma_t
  // Near 1 the complement (1 - eta^2) + eta^2 e^-2h keeps what 1 - lost rounds to 0 on steps of many decades.
  const double log_q =
      0.5 * (lost < 0.5 ? std::log1p(-lost) : std::log((1.0 - eta) * (1.0 + eta) + eta * eta * std::exp(-2.0 * h)));
  return {.keep = t.sigma / s.sigma * std::exp(log_q),
          .pull = -t.alpha * std::expm1(log_q - h),
          .fresh = eta * t.sigma * std::sqrt(renewed)};
}

FirstOrder first_order_direct(const Level& s, const Level& t, double direct) {
  const double keep = direct / s.sigma;
  // A direct part that equals sigma_t but for rounding leaves sqrt(1e-16) of noise that nobody asked for.
  const double renewed = (t.sigma - direct) * (t.sigma + direct);
  const double fresh = renewed > 1e-12 * t.sigma * t.sigma ? std::sqrt(renewed) : 0.0;
  return {.keep = keep, .pull = t.alpha - keep * s.alpha, .fresh = fresh};
}

Level down_level(const Level& s, const Level& t, double eta) {
  return {t.alpha, first_order(s, t, eta).keep * s.sigma};
}

Plan first_order_plan(const Grid& grid, const FirstOrderRule& rule) {
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Reg d = b.evaluate(x, grid[i]);
    const auto [keep, pull, fresh] = rule(grid, i);
    x = b.combine(keep * x + pull * d, b.noise(grid[i], grid[i + 1], fresh));
    b.mark(x, grid[i + 1]);
  }
  return b.finish(x);
}

}  // namespace thaw
