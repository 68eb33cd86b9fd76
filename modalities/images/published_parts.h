#pragma once
// What the published image networks share: the embedding of time, and what is expected of an input.

#include <string>

#include "core/backbone.h"
#include "core/nn/layers.h"
#include "core/published.h"

namespace thaw::image {

/// get_timestep_embedding of diffusers in its own order of operations: the exponent's last bit, times a timestep of
/// 1000, is 2e-5 of an angle.
at::Tensor published_timesteps(const at::Tensor& t_N, const nn::Sinusoid& options);

/// linear_1, SiLU, linear_2.
struct PublishedTimeEmbedding {
  nn::Linear linear1, linear2;
  PublishedTimeEmbedding() = default;
  PublishedTimeEmbedding(PublishedWeights& weights, const std::string& name, std::int64_t in, std::int64_t out);
  at::Tensor operator()(const at::Tensor& t_ND) const;
};

/// DataError unless x is [N, channels, H, W] and noise [N].
void expect_forward_input(const at::Tensor& x, const at::Tensor& noise, std::int64_t channels);
/// The labels of a condition, int64 [N] below `count`; undefined where count is 0. Throws DataError.
at::Tensor published_labels(const Condition& condition, std::int64_t batch, std::int64_t count);

/// UNet2DModel and DiTTransformer2DModel of diffusers.
std::unique_ptr<Backbone> make_published_unet2d(PublishedConfig& config, NamedTensors tensors,
                                                const std::string& where);
std::unique_ptr<Backbone> make_published_dit(PublishedConfig& config, NamedTensors tensors, const std::string& where);

}  // namespace thaw::image
