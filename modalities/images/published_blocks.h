#pragma once
// What the published convolutional networks are made of: the residual block, attention over positions, resampling.

#include <optional>
#include <string>

#include "core/nn/layers.h"
#include "core/published.h"

namespace thaw::image {

constexpr std::int64_t kMaxPublishedChannels = 1 << 16;
constexpr std::size_t kMaxPublishedLevels = 16;

using Activation = at::Tensor (*)(const at::Tensor&);

/// silu, swish, mish, gelu, relu: what the peer's act_fn may be.
const std::vector<std::string>& activation_names();
Activation activation_from_name(const std::string& name);

struct ResnetOptions {
  std::int64_t embedding = 0;  // width of the time embedding; 0: none
  std::int64_t groups = 32;
  double epsilon = 1e-5;
  Activation activation = nullptr;
  bool scales_and_shifts = false;
  double out_scale = 1.0;
};

/// ResnetBlock2D; the time scales and shifts the second norm, or is added before it.
struct Resnet {
  nn::GroupNorm norm1, norm2;
  nn::Conv2d conv1, conv2;
  std::optional<nn::Conv2d> shortcut;
  nn::Linear time;
  ResnetOptions options;
  enum class Size { kSame, kHalf, kDouble } size;

  Resnet(PublishedWeights& weights, const std::string& name, const ResnetOptions& options, std::int64_t in,
         std::int64_t out, Size size = Size::kSame);
  /// embedding_ND may be undefined where options.embedding is 0.
  at::Tensor operator()(const at::Tensor& x_NCHW, const at::Tensor& embedding_ND) const;

 private:
  at::Tensor resize(const at::Tensor& x_NCHW) const;
};

struct SpatialAttentionOptions {
  std::optional<std::int64_t> head_width{};  // one head where absent
  double epsilon = 1e-5;
  double out_scale = 1.0;
};

/// Attention over positions with its residual.
struct SpatialAttention {
  std::optional<nn::GroupNorm> norm;
  nn::Linear query, key, value, project;
  std::int64_t heads;
  double out_scale;

  SpatialAttention(PublishedWeights& weights, const std::string& name, const SpatialAttentionOptions& options,
                   std::int64_t channels, std::optional<std::int64_t> groups);
  at::Tensor operator()(const at::Tensor& x_NCHW) const;
};

/// Checkpoints from before diffusers 0.15 name the projections of attention otherwise.
void rename_old_attention(NamedTensors& tensors);

/// A convolution of stride 2; padding 0 pads right and below by one pixel, as the peer does.
at::Tensor downsample(const nn::Conv2d& conv, const at::Tensor& x_NCHW);

}  // namespace thaw::image
