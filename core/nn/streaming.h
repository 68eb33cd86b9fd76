#pragma once
// Weights that stay where they lie, in mapped files or in the host's memory, and come to the device as they are used.

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "core/backbone.h"

namespace thaw::nn {

/// What was copied, for tests and reports.
struct StreamedBytes {
  std::size_t copied = 0, peak = 0, largest = 0;  // in all, alive at a time, of one tensor
  std::vector<const void*> weights{};             // storage of each tensor that was asked for
};

/// For its lifetime and on this thread, layers compute with copies of their weights on `device` and of `type`, made when
/// a layer runs and dropped behind it. A weight that is there already in that type is used as it is.
class Streaming {
 public:
  Streaming(c10::Device device, c10::ScalarType type, StreamedBytes* count = nullptr);
  ~Streaming();
  Streaming(const Streaming&) = delete;
  Streaming& operator=(const Streaming&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The weight as a layer computes with it: itself outside of a Streaming. Every read of a weight in a forward pass goes
/// through this.
at::Tensor here(const at::Tensor& weight);
/// The type of here(weight), without the copy.
c10::ScalarType type_here(const at::Tensor& weight);

/// Passes of `network` within a Streaming. `count` may be null, else outlives the result.
std::unique_ptr<Backbone> streamed(std::unique_ptr<Backbone> network, c10::Device device, c10::ScalarType type,
                                   StreamedBytes* count = nullptr);

}  // namespace thaw::nn
