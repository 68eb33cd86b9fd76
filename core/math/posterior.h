#pragma once
// One reverse step between two levels when x0 is known, for the terms of the discrete variational bound.

#include <cmath>

#include "core/math/level.h"

namespace thaw {

/// q(x_to | x_from, x0) = N(keep x_from + pull x0, e^log_small): Ho et al. 2020, eq. 6 and 7, on any path. log_large is
/// the forward step's variance, beta there; Nichol and Dhariwal 2021, eq. 15, learns a variance between the two. Only
/// what a divergence needs: the x_from terms of two means cancel.
struct StepPosterior {
  double pull = 0.0;
  double log_small = 0.0, log_large = 0.0;
};

/// `from` is noisier than `to`, which is not clean.
inline StepPosterior step_posterior(const Level& from, const Level& to) {
  const double lost = -std::expm1(2.0 * (from.lambda() - to.lambda()));
  return {to.alpha * lost, std::log(to.sigma * to.sigma * lost), std::log(from.sigma * from.sigma * lost)};
}

}  // namespace thaw
