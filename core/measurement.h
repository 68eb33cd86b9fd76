#pragma once
// Linear measurements of data, y = A x0 + noise: what inverse problems are posed with.

#include <memory>

#include <ATen/core/Tensor.h>

#include "core/base/registry.h"

namespace thaw {

class Measurement {
 public:
  virtual ~Measurement() = default;
  /// A x, differentiable. x [N, C, H, W].
  virtual at::Tensor apply(const at::Tensor& x) const = 0;
  /// (signal A A^T + noise I)^-1 r of a residual r of A's shape; signal >= 0, noise >= 0, not both 0.
  virtual at::Tensor solve(const at::Tensor& residual, double signal, double noise) const = 0;
  /// Shape of a measured sample. Throws ConfigError for data that it cannot measure.
  virtual std::vector<std::int64_t> measured_shape(const std::vector<std::int64_t>& shape) const = 0;
};
using MeasurementPtr = std::shared_ptr<const Measurement>;
using MeasurementRegistry = Registry<MeasurementPtr>;

/// Adds inpainting, super_resolution and deblurring.
void register_measurements(MeasurementRegistry& registry);

}  // namespace thaw
