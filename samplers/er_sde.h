#pragma once
// Extended reverse-time SDE solvers: polynomial extrapolation of D in rho under a noise scaling of one's choice.

#include <string>
#include <vector>

#include "core/base/config.h"
#include "core/math/grid.h"
#include "core/math/plan.h"

namespace thaw {

struct ErSde {
  int order = 3;
  std::string solver_type = "er_sde";  // er_sde, reverse_sde, ode
  double eta = 1.0;                    // of reverse_sde
  double s_noise = 1.0;
  bool has_shift = true;   // the slope moved from the middle of its interval to the step's start
  bool sums_left = false;  // integrals as 200-point left sums

  /// g(rho) = f(rho) / rho of the noise scaling f; 0 < g, not falling.
  double scaling(double rho) const;
};

/// Cui et al. 2023, eq. 12 and algorithms 2, 3. Order 1 into the clean level; a node at alpha = 0 is forgotten.
Plan er_sde_plan(const Grid& grid, const ErSde& options);

std::vector<Option> er_sde_options();
ErSde read_er_sde(const Settings& settings);

}  // namespace thaw
