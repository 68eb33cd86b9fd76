#pragma once
// Singlestep solvers whose stages are the grid's own levels: one evaluation a step, orders 1, 2 (, 3) repeating.

#include <string>
#include <vector>

#include "core/base/config.h"
#include "samplers/singlestep.h"

namespace thaw {

struct GridSinglestep {
  int order = 2;
  Exponential form{};
  bool is_heun = false;
  bool has_lower_order_final = false;
  bool has_wrong_sign = false;  // of the second derivative in the third-order heun update of the SDE form
};

/// Step i of order p starts from the state p - 1 levels back. The noise of the SDE form is over that whole interval.
/// The order of diffusers' DPMSolverSinglestepScheduler; 1 into the clean level.
Plan grid_singlestep_plan(const Grid& grid, const std::string& sampler, const GridSinglestep& options);

/// order, solver_type, lower_order_final.
std::vector<Option> grid_singlestep_options();
GridSinglestep read_grid_singlestep(const Settings& settings);

}  // namespace thaw
