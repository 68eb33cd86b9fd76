#include "samplers/first_order.h"

#include <cmath>

namespace thaw {

FirstOrder first_order(const Level& s, const Level& t, double eta) {
  const double h = t.lambda() - s.lambda();
  // expm1 keeps 1 - e^-2h and 1 - q e^-h exact when two levels are close.
  const double renewed = -std::expm1(-2.0 * h);
  const double log_q = 0.5 * std::log1p(-eta * eta * renewed);  // q = direct / sigma_t
  return {.keep = t.sigma / s.sigma * std::exp(log_q),
          .pull = -t.alpha * std::expm1(log_q - h),
          .fresh = eta * t.sigma * std::sqrt(renewed)};
}

}  // namespace thaw
