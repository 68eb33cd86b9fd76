#include "experiments/weight_precision.h"

#include "core/base/error.h"

namespace thaw {

Precision precision_with_weights(const std::string& name, const c10::Device& device, c10::ScalarType weights) {
  const Precision precision = precision_from_name(name, device);
  if (weights != c10::ScalarType::Half || precision != Precision::kBfloat16) return precision;
  if (name == "auto") return Precision::kFloat32;
  throw ConfigError(
      "precision: bfloat16 does not go with weights in float16. Use precision=float32, which computes in the weights' "
      "own type, or weights=bfloat16.");
}

}  // namespace thaw
