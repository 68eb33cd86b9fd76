#pragma once
// Ddim made exactly invertible by integrating to both neighbours (Zhang et al. 2023, BDIA).

#include <array>

#include "core/base/config.h"
#include "core/math/plan_builder.h"

namespace thaw {

/// x_next = gamma (x_before - F(now -> before)) + F(now -> next), F the deterministic ddim step with one prediction.
///
/// Solved for x_before it is the same formula with 1 / gamma, so that both directions are one function. Zhang et al.
/// 2023, eq. 19 and 23.
struct BdiaPair {
  Reg before;
  Reg now;
};

/// The pair one level further. levels: of before, now and next; gamma, or 1 / gamma upwards. One evaluation, at now.
BdiaPair bdia_step(Builder& b, const BdiaPair& pair, double gamma, const std::array<Level, 3>& levels);

Option bdia_gamma_option();

}  // namespace thaw
