#pragma once
// The layers that published transformers of several modalities share, with the names and numbers of the peer.
// N batch, L tokens, T tokens of a source, D features, h heads

#include <array>
#include <string>
#include <vector>

#include "core/condition.h"
#include "core/nn/layers.h"
#include "core/published.h"

namespace thaw {

/// get_timestep_embedding of diffusers in its own order of operations: the exponent's last bit, times a timestep of
/// 1000, is 2e-5 of an angle.
at::Tensor published_timesteps(const at::Tensor& t_N, const nn::Sinusoid& options);

/// linear_1, SiLU or another activation, linear_2.
struct PublishedTimeEmbedding {
  nn::Linear linear1, linear2;
  at::Tensor (*activation)(const at::Tensor&) = nullptr;  // nullptr: SiLU
  PublishedTimeEmbedding() = default;
  PublishedTimeEmbedding(PublishedWeights& weights, const std::string& name, std::int64_t in, std::int64_t out);
  at::Tensor operator()(const at::Tensor& t_ND) const;
};

/// PixArtAlphaTextProjection: linear_1, GELU by tanh, linear_2.
struct CaptionProjection {
  nn::Linear linear1, linear2;
  CaptionProjection() = default;
  CaptionProjection(PublishedWeights& weights, const std::string& name, std::int64_t in, std::int64_t out);
  at::Tensor operator()(const at::Tensor& text_NTD) const;
};

/// Attention of [N, h, L, D] with a bias that may be undefined, in the layout [N, L, h D].
at::Tensor attend(const at::Tensor& q_NhLD, const at::Tensor& k_NhTD, const at::Tensor& v_NhTD,
                  const at::Tensor& bias = {});

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

/// The peer's FeedForward: "geglu", "gelu" or "gelu-approximate".
struct FeedForward {
  nn::Linear in, out;
  enum class Kind { kGeglu, kGelu, kGeluTanh } kind;
  struct Widths {
    std::int64_t in, inner, out;
  };
  /// Four times as wide inside.
  FeedForward(PublishedWeights& weights, const std::string& name, std::int64_t features, Kind kind)
      : FeedForward(weights, name, Widths{features, 4 * features, features}, kind) {}
  FeedForward(PublishedWeights& weights, const std::string& name, const Widths& widths, Kind kind);
  at::Tensor operator()(const at::Tensor& x_NLD) const;
};
/// From the peer's activation_fn.
FeedForward::Kind feed_forward_kind(PublishedConfig& config, const std::string& fallback);

/// The sine-cosine table of a picture of patches, stretched onto a trained side of `base`: [rows * columns, features].
struct PositionGrid {
  std::int64_t rows, columns, base;
  double scale;  // the peer's interpolation_scale
  std::int64_t features;
};
at::Tensor published_positions(const PositionGrid& grid);
/// [N, rows * columns, p * p * C] -> [N, C, rows p, columns p]; channels are last inside a patch, unlike
/// nn::unpatchify.
at::Tensor published_unpatchify(const at::Tensor& x_NLD, std::array<std::int64_t, 2> sides, std::int64_t patch);

/// A condition of a shape; -1 there stands for any size. Undefined when it is absent and not required. Throws
/// DataError.
at::Tensor published_condition(const Condition& condition, const std::string& name, std::vector<std::int64_t> shape,
                               bool is_required = true);

}  // namespace thaw
