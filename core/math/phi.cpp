#include "core/math/phi.h"

#include <cmath>

namespace thaw {

double phi(int k, double z) {
  if (std::isinf(z) && z < 0) return 0.0;
  if (k == 0) return std::exp(z);
  double factorial = 1.0;
  for (int i = 2; i <= k; ++i) factorial *= i;
  if (std::abs(z) < 1.0) {
    double term = 1.0 / factorial;
    double sum = term;
    for (int i = k + 1; std::abs(term) > 1e-19; ++i) {
      term *= z / i;
      sum += term;
    }
    return sum;
  }
  double value = std::expm1(z) / z;
  double inverse_factorial = 1.0;
  for (int i = 2; i <= k; ++i) {
    inverse_factorial /= (i - 1);
    value = (value - inverse_factorial) / z;
  }
  return value;
}

}  // namespace thaw
