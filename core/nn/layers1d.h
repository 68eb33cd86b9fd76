#pragma once
// Layers along one dimension. N batch, C channels, T places

#include "core/nn/layers.h"

namespace thaw::nn {

/// 1-D convolution, [N, C, T]; gain 0 starts it at zero. Odd kernels keep the length at stride 1.
struct Conv1d {
  at::Tensor weight, bias;
  std::int64_t stride = 1, padding = 0, dilation = 1;
  Conv1d() = default;
  Conv1d(const Scope& scope, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t dilation = 1,
         double gain = 1.0);
  at::Tensor operator()(const at::Tensor& x_NCT) const;
};

}  // namespace thaw::nn
