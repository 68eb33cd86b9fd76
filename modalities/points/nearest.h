#pragma once
// Squared distances from each point of a cloud to the nearest one of another, both ways.

#include <vector>

#include <ATen/core/Tensor.h>

namespace thaw::points {

/// float32 [3, n] and [3, m], contiguous on the CPU, with finite numbers. to_b[i]: from point i of a; to_a[j]: from
/// point j of b. Differences are squared as they are: no |a|^2 - 2ab + |b|^2, which loses digits and turns negative.
struct Nearest {
  std::vector<float> to_b, to_a;
};
Nearest nearest_squared(const at::Tensor& a_3n, const at::Tensor& b_3m);

// The two ways of the same, which nearest_squared chooses from by size.
Nearest nearest_by_all_pairs(const at::Tensor& a_3n, const at::Tensor& b_3m);
Nearest nearest_by_tree(const at::Tensor& a_3n, const at::Tensor& b_3m);

/// Index of the nearest of `places` [3, m] for each point [3, n].
std::vector<std::int64_t> nearest_index(const at::Tensor& points_3n, const at::Tensor& places_3m);

}  // namespace thaw::points
