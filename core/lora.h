#pragma once
// Low-rank changes of a network's weights: W + scale alpha / r up down. Hu et al. 2021.

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/nn/parameters.h"

namespace thaw {

struct LoraLayer {
  std::string weight;   // its name in the network
  at::Tensor down, up;  // [r, in ...], [out, r, 1 ...]
  double factor = 1.0;  // alpha / r, or alpha / sqrt(r) where the file says so
};

struct Lora {
  std::string where;
  std::vector<LoraLayer> layers;
};

/// Which network of a pipeline the changes are for: one file may hold those of several.
enum class LoraPart { kDenoiser, kTextEncoder, kTextEncoder2 };

/// Reads the names of peft and diffusers (lora_A, lora.down, processor.to_q_lora ...) and of kohya's scripts
/// (lora_unet_..., also with the block names of the original Stable Diffusion code), and finds the weight each layer
/// changes. Throws DataError for a layer that has none or does not fit, for half a pair, for other adapters than LoRA
/// (DoRA, LoHa, LoKr), and for a file without a layer for `part`.
Lora load_lora(const std::filesystem::path& path, const NamedTensors& weights, LoraPart part = LoraPart::kDenoiser);

/// How many layers of a file are for `part`; 0 where there are none. Throws DataError for a file that cannot be read.
std::int64_t count_lora_layers(const std::filesystem::path& path, LoraPart part);

/// Changes merged into weights in place. What stood there comes back to the bit with the last scale gone.
class LoraMerge {
 public:
  explicit LoraMerge(NamedTensors weights);
  /// Weights become the original ones plus these changes, each times its scale; none restores them.
  void set(const std::vector<std::pair<Lora, double>>& changes);

 private:
  std::map<std::string, at::Tensor> weights_;
  std::map<std::string, at::Tensor> originals_;  // of weights changed now
};

}  // namespace thaw
