#pragma once
// The noise of a set of samples: a pure function of (run seed, sample index, what it is for).

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/latent.h"
#include "core/math/brownian.h"
#include "core/math/plan.h"

namespace thaw {

/// Noise for the samples of one batch. Sample i has the same numbers in any batch, order and number of threads.
class NoiseSource {
 public:
  NoiseSource(std::uint64_t seed, std::vector<std::uint64_t> samples) : seed_(seed), samples_(std::move(samples)) {}

  /// The first state at a level: sqrt(alpha^2 + sigma^2) times a standard normal, the spread of unit-variance data
  /// there. `like` gives shapes, type and device.
  Latent start(const Latent& like, const Level& level) const;

  /// A draw a plan asks for, one tensor a stream of `like`.
  std::vector<at::Tensor> draw(const Draw& draw, const Latent& like);

 private:
  template <class Fill>
  at::Tensor filled(const at::Tensor& like, const Fill& fill) const;

  std::uint64_t seed_;
  std::vector<std::uint64_t> samples_;
  std::vector<PathNoise> paths_;  // stream-major
};

}  // namespace thaw
