#pragma once
// CFG++ steps: guided data, unguided noise.

#include "core/math/grid.h"
#include "core/math/plan.h"

namespace thaw {

/// x_t = alpha_t D_guided + direct eps_unguided + fresh z, with the split of first_order(s, t, eta).
/// Chung et al. 2024 (CFG++), algorithm 2. Without guidance it is ddim.
Plan cfgpp_plan(const Grid& grid, double eta);

}  // namespace thaw
