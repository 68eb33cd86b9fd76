#pragma once
// The approximate matching that most published "EMD" is.

#include <ATen/core/Tensor.h>

namespace thaw::points {

/// Fan, Su and Guibas 2017, in the form of their code, which PointFlow and PyTorchEMD share: ten rounds in which the
/// points of a hand out what is left of their mass to those of b by exp(-4^j |a - b|^2), j = 7 ... -1, from nearly the
/// nearest alone on, and evenly in the last.
///
/// float32 [3, n] and [3, m], contiguous. Returns sum of match |a - b|^2 (is_squared) or match |a - b|, over n. Not
/// symmetric in a and b.
double approximate_match(const at::Tensor& a_3n, const at::Tensor& b_3m, bool is_squared);

}  // namespace thaw::points
