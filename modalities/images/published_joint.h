#pragma once
// What SD3Transformer2DModel and FluxTransformer2DModel share: modulated norms, attention of two streams as one.
// N batch, L tokens, T text tokens, D features, h heads. Esser et al. 2024.

#include <string>
#include <vector>

#include "modalities/images/published_attention.h"
#include "modalities/images/published_parts.h"

namespace thaw::image {

/// A norm without weights, and shifts, scales and gates computed from the embedding: `count` vectors a sample.
struct Modulation {
  nn::Linear linear;
  nn::LayerNorm norm;
  std::int64_t count = 0;
  Modulation() = default;
  Modulation(PublishedWeights& weights, const std::string& name, std::int64_t features, std::int64_t count);
  /// [N, 1, D] each.
  std::vector<at::Tensor> operator()(const at::Tensor& embedding_ND) const;
};

/// AdaLayerNormContinuous: scale, then shift.
struct FinalNorm {
  Modulation modulate;
  FinalNorm() = default;
  FinalNorm(PublishedWeights& weights, const std::string& name, std::int64_t features)
      : modulate(weights, name, features, 2) {}
  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& embedding_ND) const;
};

/// Queries, keys and values of one stream; normed where the network does.
struct HeadProjection {
  nn::Linear query, key, value;
  nn::RmsNorm query_norm, key_norm;
  std::int64_t heads = 0;

  struct Names {
    std::string query, key, value, query_norm, key_norm;
  };
  static Names own(const std::string& name);
  static Names added(const std::string& name);

  HeadProjection() = default;
  HeadProjection(PublishedWeights& weights, const Names& names, std::int64_t features, std::int64_t heads,
                 bool has_norm);
  struct Heads {
    at::Tensor q_NhLD, k_NhLD, v_NhLD;
  };
  Heads operator()(const at::Tensor& x_NLD) const;
};

/// Both streams, `first` before `second`.
HeadProjection::Heads joined(const HeadProjection::Heads& first, const HeadProjection::Heads& second);

/// CombinedTimestep(Guidance)TextProjEmbeddings: time, pooled text and, where the network has it, the guidance scale.
class TimeTextEmbedding {
 public:
  TimeTextEmbedding() = default;
  TimeTextEmbedding(PublishedWeights& weights, std::int64_t features, std::int64_t pooled_features, bool has_guidance);
  /// guidance_N is what the network's sinusoid takes; undefined where there is none.
  at::Tensor operator()(const at::Tensor& t_N, const at::Tensor& guidance_N, const at::Tensor& pooled_ND) const;

 private:
  PublishedTimeEmbedding time_, guidance_, text_;
};

}  // namespace thaw::image
