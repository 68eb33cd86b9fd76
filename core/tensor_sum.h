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

/// A further sum over the same elements.
struct LatentSum {
  Latent* out = nullptr;
  std::vector<WeightedLatent> terms{};
};

/// Sums terms in their order, then draws in theirs. On the CPU in float32 and float64 noise is made sample by sample
/// where it is added, and nothing is allocated once the buffers exist.
class TensorSum {
 public:
  /// `like` gives names, shapes, type and device of every state; the source must outlive the sum.
  TensorSum(NoiseSource& noise, const Latent& like);

  /// Into `out`, whose tensors are made where they are undefined and may be those of a term. scales[i] is the learned
  /// variance of draw i, or nullptr.
  ///
  /// `also` are written in the same pass where a kernel runs, before `out` elsewhere: theirs may be terms of none, but
  /// their terms may be what `out` is written over.
  void operator()(Latent& out, std::span<const WeightedLatent> terms, std::span<const NoiseTerm> noise,
                  std::span<const Latent* const> scales, std::span<const LatentSum> also = {});

 private:
  /// The sums of one stream: `out`'s first, then the others'.
  struct StreamSum {
    at::Tensor* out = nullptr;
    std::vector<const at::Tensor*> in{};
    std::vector<double> weights{};
  };
  void make_tensors(Latent& out) const;
  void gather(StreamSum& sum, Latent& out, std::span<const WeightedLatent> terms, std::size_t stream) const;
  bool has_kernel(std::size_t stream) const;
  void add_stream(std::size_t stream, std::span<const NoiseTerm> noise, std::span<const Latent* const> scales);
  template <class T>
  void run_kernel(std::size_t stream);

  NoiseSource& noise_;
  Latent like_;
  // Of the sum under way; kept so that a step allocates nothing.
  std::vector<StreamSum> sums_{};
  std::size_t num_sums_ = 0;
  std::vector<NoiseSource::Ready> ready_{};
};

}  // namespace thaw
