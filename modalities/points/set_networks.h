#pragma once
// Networks of sets: what they give for a point does not depend on the order of the points.
// N batch, C channels, K points, D features, M inducing points

#include <optional>
#include <vector>

#include "core/nn/layers.h"
#include "core/nn/told_embedding.h"

namespace thaw::points {

struct SetOptions {
  std::int64_t in_channels = 3, out_channels = 3;
  std::int64_t features = 128;
  std::int64_t depth = 6;
  std::int64_t heads = 4;
  std::int64_t inducing = 0;     // 0: every point attends to every other
  std::int64_t frequencies = 0;  // of PointTransformer: waves beside every channel
  std::int64_t globals = 0;      // of PointTransformer: columns at the end that are no points
  bool has_tokens = false;       // told by tokens among the points; else by modulation
  bool is_pooled = true;         // of PointwiseNet: sees the maximum and mean over the points
  std::int64_t num_classes = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};  // of further ones that are told
  std::int64_t text_features = 0;

  nn::ToldEmbeddingOptions told() const {
    return {features, num_classes, text_features, takes_target, takes_guidance, numbers};
  }
};

/// Beside every channel x sin and cos of 2^k x for k below `frequencies`: [N, K, C (1 + 2 frequencies)]. Mildenhall et
/// al. 2020 (NeRF), eq. 4, without pi, for coordinates of about unit variance.
at::Tensor with_waves(const at::Tensor& x_NKC, std::int64_t frequencies);

/// Every point alone through six layers of 128, 256, 512, 256, 128 and C features, gated and shifted by a context that
/// holds the noise level: Luo and Hu 2021, PointwiseNet and ConcatSquashLinear. Their context is the code of an
/// encoder; here it is what is told and, where is_pooled, maximum and mean over the noisy points of a small network.
class PointwiseNet {
 public:
  PointwiseNet(const Scope& scope, const SetOptions& options);
  /// x [N, C, K], told [N].
  at::Tensor operator()(const at::Tensor& x_NCK, const nn::Told& told) const;
  std::int64_t attention_layers() const { return 0; }

 private:
  struct GatedLinear {
    nn::Linear linear, gate, shift;
    at::Tensor operator()(const at::Tensor& x_NKD, const at::Tensor& context_N1D) const;
  };
  SetOptions options_;
  nn::ToldEmbedding embed_;
  nn::Linear look1_, look2_, pool_;
  std::vector<GatedLinear> layers_;
};

/// Attention among points without positions. Told by adaLN-Zero modulation (Peebles and Xie 2023), or by one token for
/// the level and one for the class (Nichol et al. 2022, Point-E). With inducing points, which attend to the points and
/// are attended to by them after a layer of their own, the cost is linear in K: Lee et al. 2019 (Set Transformer), eq.
/// 9 and 10. With globals each of the last columns has an embedding of its own, and only the others are a set: the
/// latents of point_autoencoder.
class PointTransformer {
 public:
  /// Throws ConfigError when heads do not divide the features.
  PointTransformer(const Scope& scope, const SetOptions& options);
  /// x [N, C, K + globals]. Throws DataError where there are no columns but globals.
  at::Tensor operator()(const at::Tensor& x_NCK, const nn::Told& told) const;
  std::int64_t attention_layers() const { return options_.depth; }

 private:
  struct Block {
    nn::LayerNorm norm, gather_norm, gathered_norm;
    nn::Linear qkv, gather_query, gather_mlp1, gather_mlp2, gather, project, mlp1, mlp2, modulate;
    at::Tensor inducing_MD;  // undefined: none
    std::int64_t heads, layer;
    std::optional<nn::TextAttention> text{};
    Block(const Scope& scope, const SetOptions& options, std::int64_t layer);
    at::Tensor attend(const at::Tensor& x_NKD, bool is_identity) const;
    at::Tensor operator()(const at::Tensor& x_NKD, const at::Tensor& embedding_N1D, const nn::Told& told) const;
  };

  SetOptions options_;
  nn::ToldEmbedding embed_;
  nn::Embedding label_;
  nn::Linear points_, modulate_, out_;
  at::Tensor globals_GD_;  // undefined: none
  std::vector<Block> blocks_;
  nn::LayerNorm norm_;
};

}  // namespace thaw::points
