#pragma once
// Networks with weights as after some training, for tests.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/backbone.h"

namespace thaw::testing {

/// Weights start such that the output is 0; these do not. Numbers of either sign, none alike.
inline void stir(const NamedTensors& weights) {
  const c10::NoGradGuard no_grad;
  double count = 0.0;
  for (auto [name, weight] : weights)
    if (weight.requires_grad())
      weight.add_((at::arange(weight.numel()) * 2.4 + count++).sin().reshape(weight.sizes()) * 0.08);
}

/// Numbers in [-1, 1], no two samples alike.
inline at::Tensor waves(at::IntArrayRef shape) {
  const std::int64_t count = c10::multiply_integers(shape);
  return (at::linspace(-1, 3, count) * 40).sin().reshape(shape);
}

inline double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace thaw::testing
