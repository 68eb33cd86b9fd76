#pragma once
// The arithmetic of a solver on tensors: weighted sums of states and noise, in buffers made once.

#include <span>
#include <vector>

#include "core/latent.h"
#include "core/math/plan.h"
#include "core/noise_source.h"

namespace thaw {

/// A state in a sum.
struct WeightedLatent {
  const Latent* latent = nullptr;
  double weight = 0.0;
};

/// Sums terms in their order, then draws in theirs. On the CPU in float32 and float64 noise is made sample by sample
/// where it is added, and nothing is allocated once the buffers exist.
class TensorSum {
 public:
  /// `like` gives names, shapes, type and device of every state; the source must outlive the sum.
  TensorSum(NoiseSource& noise, const Latent& like);

  /// Into `out`, whose tensors are made where they are undefined and may be those of a term. scales[i] is the learned
  /// variance of draw i, or nullptr.
  void operator()(Latent& out, std::span<const WeightedLatent> terms, std::span<const NoiseTerm> noise,
                  std::span<const Latent* const> scales);

 private:
  void add_stream(Latent& out, std::size_t stream, std::span<const NoiseTerm> noise,
                  std::span<const Latent* const> scales);
  template <class T>
  void sum_with_noise(at::Tensor& out, std::size_t stream);

  NoiseSource& noise_;
  Latent like_;
  // Of the sum under way; kept so that a step allocates nothing.
  std::vector<const at::Tensor*> tensors_{};
  std::vector<double> weights_{};
  std::vector<NoiseSource::Ready> ready_{};
};

}  // namespace thaw
