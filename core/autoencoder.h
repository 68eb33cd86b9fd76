#pragma once
// Networks between data and the latents that a denoiser works on: pictures, sound, clouds, clips alike.

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/backbone.h"
#include "core/nn/parameters.h"

namespace thaw {

/// What the latents are. A denoiser sees (z - shift) * scale, channel by channel.
struct LatentSpec {
  std::int64_t data_channels = 0, channels = 0;
  std::vector<std::int64_t> factors{};         // data samples a latent position, one a dimension: {8, 8} of a picture
  std::vector<double> scale{1.0}, shift{0.0};  // one; one a channel; with globals one each behind those, row by row
  std::int64_t globals = 0;  // columns of the sample as a whole, behind the others; with one dimension alone
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
  /// From now on, passes without gradients go in bands of about so many positions: the result of the whole up to
  /// rounding, in less memory; 0: whole. False: this network does not do it, nothing has changed.
  virtual bool work_in_bands(std::int64_t) { return false; }
};

/// mean + exp(log_variance / 2) noise; the mean for a point or undefined noise.
at::Tensor draw(const Posterior& posterior, const at::Tensor& noise = {});
/// Between an autoencoder's latents z and those that a denoiser sees.
at::Tensor latents_for_denoiser(const LatentSpec& spec, const at::Tensor& z);
at::Tensor latents_from_denoiser(const LatentSpec& spec, const at::Tensor& x);

/// Of each sample, KL(posterior || N(0, 1)) in nats a latent number, [N]. Kingma and Welling 2014, appendix B.
at::Tensor kl_to_normal(const Posterior& posterior);

struct Quantised {
  at::Tensor z;        // the nearest codes; gradients go on to what was quantised (straight through)
  at::Tensor index;    // int64 [N, ...]
  at::Tensor penalty;  // [N]: mean square of (sg[z] - code) and `commitment` times that of (z - sg[code])
};
/// Each position of z [N, C, ...] by its nearest row of codes [K, C]. van den Oord et al. 2017 (VQ-VAE), eq. 1 and 3.
Quantised quantised(const at::Tensor& z, const at::Tensor& codes, double commitment);

/// An autoencoder that trains. A network gives moments, and decodes; the rest is here, once.
class AutoencoderNetwork : public Backbone, public Autoencoder {
 public:
  /// num_codes 0: latents are continuous and have a variance.
  AutoencoderNetwork(std::uint64_t seed, LatentSpec spec, std::int64_t num_codes);

  LatentSpec latent() const override;
  Posterior encode(const at::Tensor& x) const override;
  at::Tensor decode(const at::Tensor& z) const override;
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) const override {
    return decode(encode(x).mean);
  }
  const Parameters& parameters() const override { return parameters_; }

  /// Of latents as they are, codes or not.
  virtual at::Tensor decoded(const at::Tensor& z) const = 0;
  const at::Tensor& codes() const { return codes_; }  // [K, C], undefined: none
  /// Mean and mean square of the latents [N, C, ...] of a training batch become what `latent` reads; the average of the
  /// weights averages them too.
  void note(const at::Tensor& z) const;

 protected:
  /// [N, C, ...] of codes; else [N, 2 C, ...]: means and log variances.
  virtual at::Tensor moments(const at::Tensor& x) const = 0;
  Parameters& own_parameters() { return parameters_; }

 private:
  Parameters parameters_;
  LatentSpec spec_;
  at::Tensor mean_, square_, codes_;
};

struct Tiling {
  std::int64_t side = 0;   // of a tile in latent positions, a multiple of 4; neighbours share a quarter. 0: no tiles
  bool by_sample = false;  // one sample of the batch at a time
};

/// The same autoencoder in pieces that bound memory. Tiles are blended linearly where they overlap, as diffusers 0.42
/// does for AutoencoderKL. A network of bounded reach gives what it gives on the whole, away from the seams; norms over
/// positions and attention see their tile alone, so that one with them does not.
std::unique_ptr<Autoencoder> tiled(std::shared_ptr<const Autoencoder> whole, Tiling tiling);

}  // namespace thaw
