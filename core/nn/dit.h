#pragma once
// Diffusion transformer with adaLN-Zero blocks over patches of a picture. Peebles and Xie 2023.

#include <vector>

#include "core/nn/layers.h"

namespace thaw::nn {

struct DiTOptions {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  std::int64_t height = 28, width = 28;
  std::int64_t patch = 2;
  std::int64_t features = 128;
  std::int64_t depth = 6;
  std::int64_t heads = 4;
  double mlp_ratio = 4.0;
  std::int64_t num_classes = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};  // of further ones that are told
  std::int64_t text_features = 0;      // width of a text that every block attends to; 0: none
};

/// LayerNorm without weights, scaled and shifted by the embedding; both residuals gated, gates zero at the start.
/// Between them attention to the text where there is one, as in PixArt (Chen et al. 2024, section 2.2).
struct DiTBlock {
  LayerNorm norm;
  Linear qkv, project, mlp1, mlp2, modulate;
  std::int64_t heads;
  std::int64_t layer = 0;  // from the input on
  std::optional<TextAttention> text{};
  DiTBlock(const Scope& scope, const DiTOptions& options);
  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& embedding_ND, const Told& told) const;
};

class DiT {
 public:
  /// Throws ConfigError when patches do not tile the picture or heads do not divide the features.
  DiT(const Scope& scope, const DiTOptions& options);
  /// x [N, C, H, W], told [N].
  at::Tensor operator()(const at::Tensor& x_NCHW, const Told& told) const;
  std::int64_t attention_layers() const { return options_.depth; }

 private:
  DiTOptions options_;
  Linear patch_, embed1_, embed2_, modulate_, out_, text_;
  Embedding label_;
  NumberEmbedding target_, guidance_;
  NumberEmbeddings numbers_;
  at::Tensor position_LD_;
  std::vector<DiTBlock> blocks_;
  LayerNorm norm_;
};

/// The fixed 2-D sine-cosine table of MAE and DiT, [height * width, features]; float64 inside.
at::Tensor position_table_2d(std::int64_t height, std::int64_t width, std::int64_t features);

/// [N, C, H, W] -> [N, L, C p p] and back; row-major patches, channels first inside one.
at::Tensor patchify(const at::Tensor& x_NCHW, std::int64_t patch);
at::Tensor unpatchify(const at::Tensor& x_NLD, std::int64_t height, std::int64_t width, std::int64_t patch);

}  // namespace thaw::nn
