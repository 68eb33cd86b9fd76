#pragma once
// Tells data from reconstructions, patch by patch.

#include <vector>

#include "core/nn/layers.h"

namespace thaw::nn {

/// Convolutions of stride 2 with GroupNorm and leaky ReLU, then one number a position: positive means data. Isola et
/// al. 2017, section 3.2.2, with the norm of single samples in place of the batch's.
class PatchDiscriminator {
 public:
  PatchDiscriminator() = default;
  PatchDiscriminator(const Scope& scope, std::int64_t channels, std::int64_t width, std::int64_t depth);
  at::Tensor operator()(const at::Tensor& x_NCHW) const;  // [N, 1, h, w]
  /// The same weights as constants: a gradient goes through to x alone.
  PatchDiscriminator frozen() const;

 private:
  std::vector<Conv2d> convs_;
  std::vector<GroupNorm> norms_;  // of all but the first
  Conv2d out_;
};

}  // namespace thaw::nn
