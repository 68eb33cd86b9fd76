#pragma once
// What the published image networks share: the embedding of time, and what is expected of an input.

#include <array>
#include <string>
#include <vector>

#include "core/backbone.h"
#include "core/nn/layers.h"
#include "core/published.h"

namespace thaw::image {

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

/// DataError unless x is [N, channels, H, W] and noise [N].
void expect_forward_input(const at::Tensor& x, const at::Tensor& noise, std::int64_t channels);
/// The labels of a condition, int64 [N] below `count`; undefined where count is 0. Throws DataError.
at::Tensor published_labels(const Condition& condition, std::int64_t batch, std::int64_t count);

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

/// UNet2DModel, DiTTransformer2DModel ... of diffusers.
std::unique_ptr<Backbone> make_published_unet2d(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_unet2d_condition(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_dit(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_pixart(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_sd3(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_flux(PublishedConfig& config, PublishedSource source);

}  // namespace thaw::image
