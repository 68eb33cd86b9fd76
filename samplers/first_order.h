#pragma once
// The one family behind DDPM, DDIM, Euler, ancestral and consistency steps.

#include <cstddef>
#include <functional>

#include "core/math/grid.h"
#include "core/math/level.h"
#include "core/math/plan.h"

namespace thaw {

/// x_t = keep x_s + pull D + fresh z.
struct FirstOrder {
  double keep = 0.0;
  double pull = 0.0;
  double fresh = 0.0;
};

/// Step s -> t towards less noise: x_t = alpha_t D + direct eps + fresh z with eps = (x_s - alpha_s D) / sigma_s,
/// fresh = eta sigma_t sqrt(1 - e^-2h), direct^2 + fresh^2 = sigma_t^2, h = lambda_t - lambda_s > 0.
///
/// Song et al. 2021 (DDIM), eq. 12 and 16, for any path. eta 0 is the probability-flow Euler step in sigma / alpha, eta
/// 1 the posterior of DDPM (and Euler ancestral, SDE-DPM++ 1). Finite from alpha_s = 0 and into the clean level.
FirstOrder first_order(const Level& s, const Level& t, double eta);

/// The same with `direct` given, 0 .. sigma_t; noise of less than 1e-12 of the variance is dropped. Also upwards in
/// noise, where direct is sigma_t.
FirstOrder first_order_direct(const Level& s, const Level& t, double direct);

/// The level {alpha_t, direct} that the deterministic part of an ancestral step ends at; t itself for eta 0. It is off
/// the path: compute with its alpha, sigma and lambda, never evaluate there.
Level down_level(const Level& s, const Level& t, double eta);

/// Weights of step i of the grid.
using FirstOrderRule = std::function<FirstOrder(const Grid& grid, std::size_t i)>;

/// One evaluation and one Combine a step.
Plan first_order_plan(const Grid& grid, const FirstOrderRule& rule);

}  // namespace thaw
