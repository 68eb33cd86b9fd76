#pragma once
// AutoencoderKL and AutoencoderTiny of diffusers.

#include <memory>

#include "core/autoencoder.h"
#include "core/published.h"

namespace thaw::image {

std::unique_ptr<Autoencoder> make_published_autoencoder_kl(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Autoencoder> make_published_autoencoder_tiny(PublishedConfig& config, PublishedSource source);

/// DataError unless x is [N, channels, H, W] with sides that are multiples of `factor`.
void expect_autoencoder_input(const at::Tensor& x, std::int64_t channels, std::int64_t factor);

}  // namespace thaw::image
