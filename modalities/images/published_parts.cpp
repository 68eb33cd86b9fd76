#include "modalities/images/published_parts.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::image {

void expect_forward_input(const at::Tensor& x, const at::Tensor& noise, std::int64_t channels) {
  if (x.dim() != 4 || x.size(0) < 1 || x.size(1) != channels)
    throw DataError(concat("network input: expected pictures [N, ", channels, ", H, W], got ", x.sizes(), "."));
  if (noise.dim() != 1 || noise.size(0) != x.size(0))
    throw DataError(concat("network timestep: expected [", x.size(0), "], got ", noise.sizes(), "."));
}

at::Tensor published_labels(const Condition& condition, std::int64_t batch, std::int64_t count) {
  const auto found = condition.find("label");
  const bool has_label = found != condition.end() && found->second.defined();
  if (count == 0 && has_label) throw DataError("network labels: this network has no classes, but labels are given.");
  if (count == 0) return {};
  if (!has_label) throw DataError("network labels: this network has classes and needs a label a sample.");
  const at::Tensor label = found->second.to(at::kLong).contiguous();
  if (label.dim() != 1 || label.size(0) != batch)
    throw DataError(concat("network labels: expected [", batch, "], got ", label.sizes(), "."));
  // On a device the check would wait for it; the lookup there has its own.
  if (label.is_cpu())
    for (std::int64_t n = 0; n < batch; ++n)
      if (const std::int64_t value = label.data_ptr<std::int64_t>()[n]; value < 0 || value >= count)
        throw DataError(concat("network labels: expected labels in [0, ", count - 1, "], got ", value, "."));
  return label;
}

}  // namespace thaw::image
