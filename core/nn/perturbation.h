#pragma once
// Passes in which a network is made weaker on purpose: guidance goes away from what they answer.

#include <cstdint>
#include <string>
#include <vector>

namespace thaw {

/// Layers are counted from the input on: blocks with self-attention of a U-Net, blocks of a transformer.
struct Perturbation {
  enum class Kind {
    kNone,
    kIdentityAttention,  // every position attends to itself alone: Ahn et al. 2024, eq. 12
    kSkippedLayer,       // the layer is left out, its input passes
  };
  Kind kind = Kind::kNone;
  std::vector<std::int64_t> layers{};
};

namespace nn {

/// Perturbs what this thread's networks do while it lives.
class PerturbedPass {
 public:
  explicit PerturbedPass(const Perturbation& perturbation);
  ~PerturbedPass();
  PerturbedPass(const PerturbedPass&) = delete;
  PerturbedPass& operator=(const PerturbedPass&) = delete;

 private:
  const Perturbation* outer_;
};

/// What is done to this layer in the pass at hand.
Perturbation::Kind perturbation_of(std::int64_t layer);

}  // namespace nn
}  // namespace thaw
