#pragma once
// The state a sampler moves: one tensor usually, several for composite data.

#include <ATen/core/Tensor.h>

#include "core/nn/parameters.h"

namespace thaw {

/// Named streams with a shared batch dimension, and an optional mask of what is data and what is padding.
struct Latent {
  NamedTensors streams{};
  at::Tensor mask{};

  static Latent of(at::Tensor tensor) { return {{{"sample", std::move(tensor)}}, {}}; }
  const at::Tensor& main() const { return streams.front().second; }
  std::int64_t batch() const { return main().size(0); }
};

}  // namespace thaw
