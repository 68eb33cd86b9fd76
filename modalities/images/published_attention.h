#pragma once
// Attention to text as the published networks have it, and the transformer blocks made of it.
// N batch, L tokens, T text tokens, D features, h heads

#include <optional>
#include <string>
#include <vector>

#include "core/published_layers.h"

namespace thaw::image {

/// What all attention layers of one forward pass read beside their input.
struct AttentionContext {
  at::Tensor text_NTD{};   // undefined: attention stays within the input
  at::Tensor text_bias{};  // [N, 1, 1, T], added to the logits; undefined: none
};

/// 0 where the mask [N, T] keeps a token, -10000 where it does not: the peer's, so that a row without any token attends
/// to all of them alike. Undefined for an undefined mask.
at::Tensor attention_bias(const at::Tensor& mask_NT, at::ScalarType type);

struct SpatialTransformerOptions {
  std::int64_t channels, heads, text_features, groups, layers;
  bool has_linear_projection = false, attends_to_text_only = false, is_upcast = false;
};

/// Transformer2DModel over a picture: norm, projection, blocks of self-attention, attention to text and MLP, residual.
class SpatialTransformer {
 public:
  SpatialTransformer(PublishedWeights& weights, const std::string& name, const SpatialTransformerOptions& options);
  at::Tensor operator()(const at::Tensor& x_NCHW, const AttentionContext& context) const;

 private:
  struct Block {
    nn::LayerNorm norm1, norm2, norm3;
    CrossAttention attend, attend_text;
    FeedForward mlp;
    bool attends_to_text_only;
    Block(PublishedWeights& weights, const std::string& name, const SpatialTransformerOptions& options);
    at::Tensor operator()(const at::Tensor& x_NLD, const AttentionContext& context) const;
  };

  nn::GroupNorm norm_;
  // One of the pairs: the published networks project either by 1x1 convolutions or by linear layers.
  std::optional<nn::Conv2d> conv_in_, conv_out_;
  std::optional<nn::Linear> linear_in_, linear_out_;
  std::vector<Block> blocks_;
};

}  // namespace thaw::image
