#pragma once
// Networks that are told something of the very sample they draw: a vocoder its spectrogram.

#include <string>

#include "core/backbone.h"

namespace thaw {

class ToldOfSample {
 public:
  virtual ~ToldOfSample() = default;
  /// The condition's name.
  virtual std::string told_name() const = 0;
  /// What is told of encoded samples x0 [N, ...]: [N, ...], on their device.
  virtual at::Tensor told_of(const at::Tensor& x0) const = 0;
};

/// The condition with what the network is told of x0; of any other network unchanged.
inline Condition with_told_of_sample(const Backbone& backbone, const at::Tensor& x0, Condition condition) {
  if (const auto* told = dynamic_cast<const ToldOfSample*>(&backbone)) condition[told->told_name()] = told->told_of(x0);
  return condition;
}

}  // namespace thaw
