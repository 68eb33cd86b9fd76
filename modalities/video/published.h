#pragma once
// Published networks of clips: model directories of diffusers, with the behaviour and tensor names of 0.42.1.

#include "core/published_network.h"

namespace thaw::video {

/// LatteTransformer3DModel and WanTransformer3DModel. Their forward takes x [N, C, T, H, W], noise = the peer's
/// timestep [N] (Wan also [N, tokens]), and as conditions
///   "text" [N, L, D]           states of the text encoder
///   "image" [N, L, D]          Wan with image_dim: states of the image encoder
///   "temporal" one number      Latte: 0 leaves the attention along time out
/// throws DataError when one of them does not fit the network.
const PublishedDenoisers& published_denoisers();

std::unique_ptr<Backbone> make_published_latte(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_wan(PublishedConfig& config, PublishedSource source);

}  // namespace thaw::video
