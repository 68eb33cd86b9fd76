#pragma once
// The 2-D U-Net of the ADM / DDPM++ family: residual blocks whose second norm is scaled and shifted by the embedding of
// noise and class, attention at chosen resolutions, resampling inside residual blocks. Of clips, the frames go through
// it as pictures that attend to each other: the factorised 3-D U-Net (Ho et al. 2022, Video Diffusion Models). Dhariwal
// and Nichol 2021 (ADM); Song et al. 2021 (DDPM++).

#include <vector>

#include "core/nn/layers.h"
#include "core/nn/temporal.h"

namespace thaw::nn {

struct UNet2dOptions {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  std::int64_t size = 28;  // height of the input, by which `attention` is counted; the width need not be the same
  std::int64_t patch = 1;  // pixels a side that are one place of the network: their values are its channels
  std::int64_t width = 32;
  std::vector<std::int64_t> multipliers{1, 2, 4};
  std::int64_t blocks = 1;                // residual blocks a level on the way down (one more on the way up)
  std::vector<std::int64_t> attention{};  // resolutions with attention
  std::int64_t head_width = 32;
  double dropout = 0.0;
  std::int64_t num_classes = 0;  // the table has one more row, the null label
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};    // of further ones that are told
  std::int64_t text_features = 0;        // width of a text that blocks with attention attend to; 0: none
  bool is_temporal = false;              // takes clips
  std::vector<std::int64_t> temporal{};  // their resolutions with attention along time; none: all
};

enum class Resample { kNone, kDown, kUp };

/// GroupNorm, SiLU, convolution, twice; the embedding scales and shifts the second norm; zero at the start.
struct ResidualBlock {
  GroupNorm norm1, norm2;
  Conv2d conv1, conv2, skip;
  Linear embed;
  Resample resample = Resample::kNone;
  double dropout_rate = 0.0;
  std::uint64_t layer = 0;
  ResidualBlock(const Scope& scope, std::int64_t in, std::int64_t out, std::int64_t embedding, Resample resample,
                double dropout, std::uint64_t layer);
  at::Tensor operator()(const at::Tensor& x_NCHW, const at::Tensor& embedding_ND) const;
};

/// Self-attention over positions, then attention to the text where there is one; both residual, zero at the start.
struct AttentionBlock {
  GroupNorm norm;
  Conv2d qkv, project;
  std::optional<TextAttention> text{};
  std::int64_t heads = 1;
  std::int64_t layer = 0;  // among the blocks with attention, from the input on
  AttentionBlock(const Scope& scope, std::int64_t channels, std::int64_t head_width, std::int64_t text_features);
  at::Tensor operator()(const at::Tensor& x_NCHW, const Told& told) const;
};

class UNet2d {
 public:
  /// Throws ConfigError when the size is no multiple of the patch or cannot be halved once a level.
  UNet2d(const Scope& scope, const UNet2dOptions& options);

  /// x [N, C, H, W], of clips [N, C, T, H, W]; told [N], the noise of clips [N, T] where frames have levels of their
  /// own.
  at::Tensor operator()(const at::Tensor& x, const Told& told) const;
  std::int64_t attention_layers() const { return num_attention_; }
  bool takes_parts() const { return options_.is_temporal; }

 private:
  struct Stage {
    ResidualBlock block;
    std::optional<AttentionBlock> attention;
    std::optional<TemporalAttention> temporal{};
  };
  at::Tensor embedding(const Told& told) const;
  at::Tensor run(const at::Tensor& pixels_MCHW, const at::Tensor& embedding_MD, const Told& told,
                 std::int64_t frames) const;
  void make_down(const Scope& scope, std::vector<std::int64_t>& skips);
  void make_up(const Scope& scope, std::vector<std::int64_t> skips);
  void add_temporal(const Scope& scope);
  bool attends(std::int64_t size) const;
  std::optional<AttentionBlock> attention_block(const Scope& scope, std::int64_t channels) const;

  UNet2dOptions options_;
  std::int64_t embedding_ = 0;
  std::uint64_t num_layers_ = 0;
  std::int64_t num_attention_ = 0;
  std::int64_t channels_ = 0, size_ = 0;  // while building
  Linear embed1_, embed2_, text_;
  Embedding label_;
  NumberEmbedding target_, guidance_;
  NumberEmbeddings numbers_;
  Conv2d in_, out_;
  GroupNorm out_norm_;
  std::vector<Stage> down_, middle_, up_;
  std::vector<bool> takes_skip_;  // of each stage of up_
};

}  // namespace thaw::nn
