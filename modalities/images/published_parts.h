#pragma once
// What the published image networks share: what is expected of an input.

#include "core/backbone.h"
#include "core/published_layers.h"

namespace thaw::image {

/// DataError unless x is [N, channels, H, W] and noise [N].
void expect_forward_input(const at::Tensor& x, const at::Tensor& noise, std::int64_t channels);
/// The labels of a condition, int64 [N] below `count`; undefined where count is 0. Throws DataError.
at::Tensor published_labels(const Condition& condition, std::int64_t batch, std::int64_t count);

/// UNet2DModel, DiTTransformer2DModel ... of diffusers.
std::unique_ptr<Backbone> make_published_unet2d(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_unet2d_condition(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_dit(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_pixart(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_sd3(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_flux(PublishedConfig& config, PublishedSource source);

}  // namespace thaw::image
