#pragma once
// Networks that look at data: they classify it, and what they see before the last layer are features.

#include <vector>

#include <ATen/core/Tensor.h>

#include "core/backbone.h"

namespace thaw {

/// forward returns logits [N, classes]: of noisy x where the network is told the noise number, of clean x otherwise.
class Classifier : public Backbone {
 public:
  /// Whether samples may be longer or shorter in the first dimension behind the channels than those it learned from.
  virtual bool takes_any_length() const { return false; }
  /// [N, d], the input of the last layer.
  virtual at::Tensor features(const at::Tensor& x) const = 0;
  virtual at::Tensor logits(const at::Tensor& x) const = 0;
  /// Activations of its stages, [N, C, ...] each, from the input on; the last is `features` as [N, d, 1].
  virtual std::vector<at::Tensor> layers(const at::Tensor& x) const = 0;
  /// True where forward reads the noise number: what classifier guidance needs.
  virtual bool takes_noise() const { return false; }
  virtual at::Tensor noisy_logits(const at::Tensor& x, const at::Tensor& /*noise_N*/) const { return logits(x); }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition&) const override {
    return noise.defined() && takes_noise() ? noisy_logits(x, noise) : logits(x);
  }
};

}  // namespace thaw
