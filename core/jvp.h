#pragma once
// A function's value and its derivative along a direction, in one forward pass.

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace thaw {

struct Dual {
  at::Tensor value;
  at::Tensor tangent;
};

/// Forward-mode differentiation of ATen operations, without a graph: about the cost of two calls. inputs[i] moves along
/// tangents[i] (same shape and type).
Dual derivative_along(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& function,
                      const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& tangents);

}  // namespace thaw
