#pragma once
// Draws of one or several plans as vectors over independent normals. Shared by the analyses; not for executors.

#include <span>
#include <utility>
#include <vector>

#include "core/math/plan.h"

namespace thaw {

/// Path draws are split at every interval end of the given plans, so that overlapping intervals are correlated rightly;
/// other draws are one element each.
class NoiseBasis {
 public:
  explicit NoiseBasis(std::span<const Plan* const> plans);

  struct Part {
    std::size_t element = 0;
    double weight = 0.0;
  };
  std::size_t size() const;
  /// The draw as a sum of elements; the squares of the weights add up to 1.
  std::vector<Part> parts(const Draw& draw) const;

 private:
  std::vector<double> ends_;  // rising, ends closer than 1e-9 merged: rounding of one level's lambda
  std::vector<std::pair<int, std::uint32_t>> fresh_;
};

}  // namespace thaw
