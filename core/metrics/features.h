#pragma once
// Networks that look at data: they classify it, and what they see before the last layer are features.

#include <ATen/core/Tensor.h>

#include "core/backbone.h"

namespace thaw {

/// A backbone that ignores the noise number; forward returns logits [N, classes].
class Classifier : public Backbone {
 public:
  /// [N, d], the input of the last layer.
  virtual at::Tensor features(const at::Tensor& x) const = 0;
  virtual at::Tensor logits(const at::Tensor& x) const = 0;
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) const override { return logits(x); }
};

}  // namespace thaw
