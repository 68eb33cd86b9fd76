#pragma once
// Attention along time, of frames that are otherwise treated as pictures. T frames

#include "core/nn/layers.h"

namespace thaw::nn {

/// Rotates pairs (i, i + D / 2) of the last dimension by position / 10000^(2 i / D): attention then sees how far apart
/// two positions are. x [..., T, D], D even. Su et al. 2021 (RoFormer), eq. 34, with halves for neighbours.
at::Tensor rotated_by_position(const at::Tensor& x_TD);

/// Self-attention of each place to itself at other times, residual, zero at the start; any number of frames. Throws
/// ConfigError for odd numbers of channels. Ho et al. 2022 (Video Diffusion Models), section 3, with rotary positions.
struct TemporalAttention {
  GroupNorm norm;
  Conv2d qkv, project;
  std::int64_t heads = 1;
  TemporalAttention(const Scope& scope, std::int64_t channels, std::int64_t head_width);
  /// x [N T, C, H, W], the frames of a clip behind one another.
  at::Tensor operator()(const at::Tensor& x_MCHW, std::int64_t frames) const;
};

}  // namespace thaw::nn
