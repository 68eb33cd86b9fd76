#pragma once
// How hard a noise level is, learned beside the network: the weight of a loss that is its own inverse size.

#include <span>

#include "core/math/level.h"
#include "core/nn/parameters.h"

namespace thaw {

/// u(level), a linear layer on random Fourier features of ln(sigma / alpha) / 4, starting at 0.
/// loss / e^u + u: at its best e^u is the mean loss of the level, so that every level counts the same.
/// Karras et al. 2024 (EDM2), eq. 14 and 15 and appendix B.2 (128 features of normal frequencies).
class LearnedUncertainty {
 public:
  explicit LearnedUncertainty(std::uint64_t seed);
  void to(const c10::Device& device);
  NamedTensors parameters() const { return parameters_.all(); }
  /// u [N], float32, differentiable.
  at::Tensor operator()(std::span<const Level> levels) const;

 private:
  Parameters parameters_;
  at::Tensor weight_, bias_;
};

}  // namespace thaw
