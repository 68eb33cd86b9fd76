#pragma once
// BasicTransformerBlock of diffusers with norm_type ada_norm_single: the block of PixArt and Latte.
// N batch, L tokens, T text tokens, D features

#include <optional>
#include <string>

#include "core/published_layers.h"

namespace thaw {

struct AdaSingleOptions {
  std::int64_t heads, head_width;
  std::int64_t text_features;  // 0: no attention to text
  bool has_attention_bias, has_norm_weights, is_upcast;
  FeedForward::Kind mlp;
  double epsilon;
};

/// Shifts, scales and gates are the sum of one vector for all blocks and a table of the block's own. Chen et al. 2023
/// (PixArt), section 2.3.
struct AdaSingleBlock {
  at::Tensor table_6D;
  nn::LayerNorm norm1, norm2;
  CrossAttention attend;
  std::optional<CrossAttention> attend_text{};
  FeedForward mlp;

  AdaSingleBlock(PublishedWeights& weights, const std::string& name, const AdaSingleOptions& options);
  /// text and bias may be undefined where there is no attention to text.
  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& t_N6D, const at::Tensor& text_NTD,
                        const at::Tensor& text_bias) const;
};

}  // namespace thaw
