#pragma once
// Attention to text as the published networks have it, and the transformer blocks made of it.
// N batch, L tokens, T text tokens, D features, h heads

#include <optional>
#include <string>
#include <vector>

#include "core/nn/layers.h"
#include "core/published.h"

namespace thaw::image {

/// What all attention layers of one forward pass read beside their input.
struct AttentionContext {
  at::Tensor text_NTD{};   // undefined: attention stays within the input
  at::Tensor text_bias{};  // [N, 1, 1, T], added to the logits; undefined: none
};

/// 0 where the mask [N, T] keeps a token, -10000 where it does not: the peer's, so that a row without any token attends
/// to all of them alike. Undefined for an undefined mask.
at::Tensor attention_bias(const at::Tensor& mask_NT, at::ScalarType type);

struct AttentionOptions {
  std::int64_t features, heads, head_width;
  std::int64_t text_features = 0;  // of keys and values; 0: those of the input
  bool has_bias = false;           // of query, key, value
  bool is_upcast = false;          // logits in float32
};

struct CrossAttention {
  nn::Linear query, key, value, project;
  std::int64_t heads;
  bool is_upcast;

  CrossAttention(PublishedWeights& weights, const std::string& name, const AttentionOptions& options);
  /// Keys and values from `source`, which may be x itself.
  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& source_NTD, const at::Tensor& bias) const;
};

/// The peer's FeedForward: "geglu", "gelu" or "gelu-approximate", four times as wide inside.
struct FeedForward {
  nn::Linear in, out;
  enum class Kind { kGeglu, kGelu, kGeluTanh } kind;
  FeedForward(PublishedWeights& weights, const std::string& name, std::int64_t features, Kind kind);
  at::Tensor operator()(const at::Tensor& x_NLD) const;
};

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

/// Attention of [N, h, L, D] with a bias that may be undefined, in the layout [N, L, h D].
at::Tensor attend(const at::Tensor& q_NhLD, const at::Tensor& k_NhTD, const at::Tensor& v_NhTD,
                  const at::Tensor& bias = {});

}  // namespace thaw::image
