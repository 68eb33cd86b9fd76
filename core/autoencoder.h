#pragma once
// Networks between data and the latents that a denoiser works on: pictures, sound, clouds, clips alike.

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/nn/parameters.h"

namespace thaw {

/// What the latents are. A denoiser sees (z - shift) * scale, channel by channel.
struct LatentSpec {
  std::int64_t data_channels = 0, channels = 0;
  std::vector<std::int64_t> factors{};         // data samples a latent position, one a dimension: {8, 8} of a picture
  std::vector<double> scale{1.0}, shift{0.0};  // one, or one a channel
};

/// A diagonal Gaussian over latents; log_variance is undefined for a point.
struct Posterior {
  at::Tensor mean, log_variance{};
};

class Autoencoder {
 public:
  virtual ~Autoencoder() = default;
  virtual LatentSpec latent() const = 0;
  /// x [N, data_channels, ...] in the codec's range, [-1, 1] unless it says otherwise; sides are multiples of factors.
  virtual Posterior encode(const at::Tensor& x) const = 0;
  /// z [N, channels, ...] at the autoencoder's own scale.
  virtual at::Tensor decode(const at::Tensor& z) const = 0;
  virtual const Parameters& parameters() const = 0;
};

/// mean + exp(log_variance / 2) noise; the mean for a point or undefined noise.
at::Tensor draw(const Posterior& posterior, const at::Tensor& noise = {});
/// Between an autoencoder's latents z and those that a denoiser sees.
at::Tensor latents_for_denoiser(const LatentSpec& spec, const at::Tensor& z);
at::Tensor latents_from_denoiser(const LatentSpec& spec, const at::Tensor& x);

struct Tiling {
  std::int64_t side = 0;   // of a tile in latent positions, a multiple of 4; neighbours share a quarter. 0: no tiles
  bool by_sample = false;  // one sample of the batch at a time
};

/// The same autoencoder in pieces that bound memory. Tiles are blended linearly where they overlap, as diffusers 0.42
/// does for AutoencoderKL. A network of bounded reach gives what it gives on the whole, away from the seams; norms over
/// positions and attention see their tile alone, so that one with them does not.
std::unique_ptr<Autoencoder> tiled(std::shared_ptr<const Autoencoder> whole, Tiling tiling);

}  // namespace thaw
