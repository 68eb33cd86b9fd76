#pragma once
// Training by low-rank changes: weights stay what they were, plus up down. Hu et al. 2021 (LoRA), section 4.1.

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "core/nn/parameters.h"

namespace thaw {

struct LowRankOptions {
  std::int64_t rank = 0;                                   // 0: all weights train
  std::vector<std::string> targets{"attention", "attn"};  // parts of the names of weights that change
};
const std::vector<Option>& low_rank_options();
LowRankOptions low_rank_options_from(const Settings& settings);

/// Factors that train in place of a network's weights. Each weight of two or more dimensions whose name holds a target
/// is W0 + up down, with down [r, in ...] uniform as a layer's weight starts and up [out, r, 1 ...] zero; no other
/// weight of the network trains. The network itself knows nothing of it: the gradient of W is turned into those of the
/// factors, up^T dW and dW down^T, which is the chain rule to the letter.
class LowRankWeights {
 public:
  /// Takes the weights as they are for W0. Throws ConfigError at train.lora.targets where none is meant.
  LowRankWeights(const NamedTensors& weights, const LowRankOptions& options, std::uint64_t seed);

  /// "<layer>.lora_A.weight" and "<layer>.lora_B.weight", as peft calls them.
  const NamedTensors& factors() const { return factors_.all(); }
  /// The weights become W0 + up down.
  void apply();
  /// After a backward pass: adds to the factors' gradients, and forgets the weights'.
  void pass_gradients();
  /// In the layout of diffusers' LoRA files: of its transformers "transformer.", else "unet.".
  void save(const std::filesystem::path& path) const;

 private:
  struct Layer {
    at::Tensor weight, original, down, up;
  };
  Parameters factors_;
  std::vector<Layer> layers_;
};

}  // namespace thaw
