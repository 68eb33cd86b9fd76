#pragma once
// Loss weights over noise levels.

#include <memory>

#include "core/base/registry.h"
#include "core/math/level.h"
#include "core/math/scalings.h"

namespace thaw {

/// The factor on |F - F*|^2, the squared error of a network's own output.
///
/// Most weightings are stated in papers on the squared error of x0; since D - x0 = out (F - F*), theirs is
/// weight_on_data * out^2. Levels are never clean in training; a clean level may give NaN here.
class Weighting {
 public:
  virtual ~Weighting() = default;
  virtual double on_output(const Level& level, const Scalings& scalings, double sigma_data) const = 0;
};

using WeightingPtr = std::shared_ptr<const Weighting>;
using WeightingRegistry = Registry<std::shared_ptr<const Weighting>>;

/// Adds uniform, snr, truncated_snr, min_snr, soft_min_snr, edm, sigmoid and p2.
void register_weightings(WeightingRegistry& registry);

}  // namespace thaw
