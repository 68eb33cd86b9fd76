#pragma once
// Points and a fixed number of latent tokens beside them.
// N batch, C channels, K points, D features of a point, M latents, L features of a latent

#include <optional>
#include <vector>

#include "core/nn/layers.h"
#include "core/nn/told_embedding.h"

namespace thaw::points {

struct TwoStreamOptions {
  std::int64_t in_channels = 3, out_channels = 3;
  std::int64_t features = 96;
  std::int64_t latents = 64, latent_features = 128;
  std::int64_t depth = 4, latent_depth = 2;
  std::int64_t heads = 4;
  std::int64_t frequencies = 6;  // of waves beside every channel
  std::int64_t num_classes = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};  // of further ones that are told
  std::int64_t text_features = 0;

  nn::ToldEmbeddingOptions told() const {
    return {features, num_classes, text_features, takes_target, takes_guidance, numbers};
  }
};

/// Latents read the points, work among themselves, and the points read them: most of the work does not depend on how
/// many points there are, and a network that learned from few points gives many. Huang et al. 2024 (PointInfinity),
/// section 3.2, after Jabri et al. 2023 (RIN). Points are told by adaLN-Zero modulation, latents by one token more;
/// captions are read by the latents.
class TwoStream {
 public:
  /// Throws ConfigError when heads do not divide both widths.
  TwoStream(const Scope& scope, const TwoStreamOptions& options);
  /// x [N, C, K], told [N]: [N, C', K].
  at::Tensor operator()(const at::Tensor& x_NCK, const nn::Told& told) const;
  std::int64_t attention_layers() const { return options_.depth * options_.latent_depth; }

 private:
  struct Cross {
    nn::Linear query, key_value, project;
    std::int64_t heads;
    Cross(const Scope& scope, std::int64_t to, std::int64_t from, std::int64_t width, std::int64_t heads);
    at::Tensor operator()(const at::Tensor& to, const at::Tensor& from) const;
  };
  struct LatentLayer {
    nn::LayerNorm norm1, norm2;
    nn::Linear qkv, project, mlp1, mlp2;
    std::int64_t heads, layer;
    LatentLayer(const Scope& scope, const TwoStreamOptions& options, std::int64_t layer);
    at::Tensor operator()(const at::Tensor& z_NML) const;
  };
  struct Block {
    nn::LayerNorm points_norm, latent_norm, write_norm;
    Cross read, write;
    std::vector<LatentLayer> layers;
    nn::Linear mlp1, mlp2, modulate;
    std::optional<nn::TextAttention> text{};
    Block(const Scope& scope, const TwoStreamOptions& options, std::int64_t number);
    void operator()(at::Tensor& x_NKD, at::Tensor& z_NML, const at::Tensor& embedding_N1D, const nn::Told& told) const;
  };

  TwoStreamOptions options_;
  nn::ToldEmbedding embed_;
  nn::Linear points_, token_, modulate_, out_;
  at::Tensor latents_ML_;
  std::vector<Block> blocks_;
  nn::LayerNorm norm_;
};

}  // namespace thaw::points
