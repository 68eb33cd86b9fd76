#include "core/precision.h"

#include <ATen/autocast_mode.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

Precision precision_from_name(const std::string& name, const c10::Device& device) {
  if (name == "bfloat16") return Precision::kBfloat16;
  if (name == "float32") return Precision::kFloat32;
  if (name == "float64") return Precision::kFloat64;
  const bool is_fast = device.is_cuda() || __builtin_cpu_supports("avx512bf16");
  return is_fast ? Precision::kBfloat16 : Precision::kFloat32;
}

std::string precision_name(Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return "float32";
    case Precision::kBfloat16:
      return "bfloat16";
    case Precision::kFloat64:
      return "float64";
  }
  return "";
}

c10::ScalarType weight_type(Precision precision) {
  return precision == Precision::kFloat64 ? at::kDouble : at::kFloat;
}

AutocastScope::AutocastScope(Precision precision, const c10::Device& device)
    : is_active_(precision == Precision::kBfloat16), type_(device.type()) {
  if (!is_active_) return;
  at::autocast::set_autocast_dtype(type_, at::kBFloat16);
  at::autocast::set_autocast_enabled(type_, true);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  if (!is_active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(type_, false);
}

}  // namespace thaw
