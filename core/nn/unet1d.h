#pragma once
// A U-Net along one dimension: the blocks of core/nn/unet2d.h for sounds. N batch, C channels, T places, D features

#include <vector>

#include "core/nn/layers1d.h"
#include "core/nn/told_embedding.h"

namespace thaw::nn {

struct UNet1dOptions {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  std::int64_t length = 1024;  // of the input
  std::int64_t patch = 1;      // neighbours that are one place of the network: their values are its channels
  std::int64_t width = 32;
  std::vector<std::int64_t> multipliers{1, 2, 4};
  std::int64_t factor = 2;                // how many times fewer places a level has than the one before
  std::int64_t blocks = 1;                // residual blocks a level on the way down (one more on the way up)
  std::vector<std::int64_t> attention{};  // numbers of places at which blocks attend
  std::int64_t head_width = 32;
  double dropout = 0.0;
  std::int64_t num_classes = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};  // of further ones that are told
  std::int64_t text_features = 0;      // width of a text that blocks with attention attend to; 0: none

  std::int64_t embedding() const { return 4 * width; }
  ToldEmbeddingOptions told() const {
    return {embedding(), num_classes, text_features, takes_target, takes_guidance, numbers};
  }
};

/// GroupNorm, SiLU, convolution, twice; what is told scales and shifts the second norm; zero at the start.
struct ResidualBlock1d {
  GroupNorm norm1, norm2;
  Conv1d conv1, conv2, skip;
  Linear embed;
  std::int64_t shortens = 1, lengthens = 1;  // by means and by repetition, before the first convolution
  double dropout_rate = 0.0;
  std::uint64_t layer = 0;

  struct Widths {
    std::int64_t in, out, embedding;
  };
  ResidualBlock1d(const Scope& scope, const Widths& widths, double dropout, std::uint64_t layer);
  at::Tensor operator()(const at::Tensor& x_NCT, const at::Tensor& embedding_ND) const;
};

/// Attention of places to each other, then to the text where there is one; both residual, zero at the start.
struct AttentionBlock1d {
  GroupNorm norm;
  Conv1d qkv, project;
  std::optional<TextAttention> text{};
  std::int64_t heads = 1;
  std::int64_t layer = 0;  // among the blocks with attention, from the input on
  AttentionBlock1d(const Scope& scope, std::int64_t channels, std::int64_t head_width, std::int64_t text_features);
  at::Tensor operator()(const at::Tensor& x_NCT, const Told& told) const;
};

class UNet1d {
 public:
  /// Throws ConfigError when the patch does not tile the length or a level cannot be shortened.
  UNet1d(const Scope& scope, const UNet1dOptions& options);
  /// x [N, C, T], told [N].
  at::Tensor operator()(const at::Tensor& x_NCT, const Told& told) const;
  std::int64_t attention_layers() const { return num_attention_; }

 private:
  struct Stage {
    ResidualBlock1d block;
    std::optional<AttentionBlock1d> attention{};
    bool takes_skip = false;
  };
  /// The next stage; the number of places and channels go on from it.
  Stage stage(const Scope& scope, std::int64_t in, std::int64_t out, bool may_attend);
  void make_down(const Scope& scope, std::vector<std::int64_t>& skips);
  void make_up(const Scope& scope, std::vector<std::int64_t> skips);

  UNet1dOptions options_;
  std::uint64_t num_layers_ = 0;
  std::int64_t num_attention_ = 0;
  std::int64_t channels_ = 0, places_ = 0;  // while building
  ToldEmbedding embed_;
  Conv1d in_, out_;
  GroupNorm out_norm_;
  std::vector<Stage> down_, middle_, up_;
};

}  // namespace thaw::nn
