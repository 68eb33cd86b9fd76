#pragma once
// The type networks compute in. State, loss, EMA and optimiser stay in float32.

#include <string>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace thaw {

enum class Precision { kFloat32, kBfloat16, kFloat64 };

/// Of weights and of what a network is given: float64 for exact studies, else float32 (autocast does the rest).
c10::ScalarType weight_type(Precision precision);

/// "auto": bfloat16 where the device multiplies it faster (CUDA; a CPU with AVX512-BF16), else float32.
Precision precision_from_name(const std::string& name, const c10::Device& device);
std::string precision_name(Precision precision);

/// Autocast for its lifetime; float32 and float64 do nothing.
class AutocastScope {
 public:
  AutocastScope(Precision precision, const c10::Device& device);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  bool is_active_;
  c10::DeviceType type_;
};

}  // namespace thaw
