#pragma once
// Loss weights over noise levels.

#include <memory>

#include "core/base/registry.h"
#include "core/math/level.h"
#include "core/math/scalings.h"
#include "core/math/schedule.h"

namespace thaw {

/// The factor on |F - F*|^2, the squared error of a network's own output.
///
/// Most weightings are stated in papers on the squared error of x0; since D - x0 = out (F - F*), theirs is
/// weight_on_data * out^2. Levels are never clean in training; a clean level may give NaN here.
class Weighting {
 public:
  virtual ~Weighting() = default;
  virtual double on_output(const Level& level, const Scalings& scalings, double sigma_data) const = 0;
  /// The same for levels drawn uniformly in the schedule's time; only weightings that depend on how levels are drawn
  /// differ.
  virtual double on_output_in_time(const Schedule& /*schedule*/, const Level& level, const Scalings& scalings,
                                   double sigma_data) const {
    return on_output(level, scalings, sigma_data);
  }
};

using WeightingPtr = std::shared_ptr<const Weighting>;
using WeightingRegistry = Registry<std::shared_ptr<const Weighting>>;

/// Adds every weighting of core/math/list.def.
void register_weightings(WeightingRegistry& registry);

}  // namespace thaw
