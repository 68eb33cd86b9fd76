#pragma once
// What tensors hold, in a few characters.

#include <string>

#include "core/nn/parameters.h"

namespace thaw {

/// Of the values alone, wherever they lie.
std::string hash_of_tensor(const at::Tensor& tensor);
/// Of names and values.
std::string hash_of_weights(const NamedTensors& weights);

}  // namespace thaw
