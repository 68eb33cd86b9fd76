#pragma once
// Which type a network computes in, given that of its weights.

#include <string>

#include <c10/core/ScalarType.h>

#include "core/precision.h"

namespace thaw {

/// precision_from_name, but autocast to bfloat16 mixes two half types where weights are float16: "auto" then computes
/// in the weights' own type (Precision::kFloat32: no autocast), and "bfloat16" throws ConfigError.
Precision precision_with_weights(const std::string& name, const c10::Device& device, c10::ScalarType weights);

}  // namespace thaw
