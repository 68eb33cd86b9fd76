#pragma once
// The autoencoder of sounds called Oobleck, published or trained here. Evans et al. 2024 (Stable Audio Open), section
// 3; Kumar et al. 2023 (DAC). N batch, C channels, T places

#include <functional>
#include <string>
#include <vector>

#include "core/autoencoder.h"
#include "core/nn/parameters.h"

namespace thaw::audio {

struct OobleckOptions {
  std::int64_t data_channels = 1;
  std::int64_t encoder_width = 128, decoder_width = 128, latent_channels = 64;  // the encoder gives twice those
  std::vector<std::int64_t> strides{}, multipliers{};                           // one a level, from the sound on
  std::int64_t moments() const { return 2 * latent_channels; }
  std::int64_t factor() const;  // the strides' product
};

/// A weight of that name and shape: out of a file, or new.
using TakeWeight = std::function<at::Tensor(const std::string&, at::IntArrayRef, const Init&)>;

/// A direction for each output (of transposed convolutions: input) and its length. Salimans and Kingma 2016.
struct NormedConv1d {
  at::Tensor length, direction, bias;
  std::int64_t stride = 1, padding = 0, dilation = 1;
  bool is_transposed = false;
  at::Tensor operator()(const at::Tensor& x_NCT) const;
};

/// x + sin(a x)^2 / b with a and b of each channel, as logarithms. Ziyin et al. 2020, eq. 3; Lee et al. 2023 (BigVGAN).
struct Snake {
  at::Tensor log_a, log_b;
  at::Tensor operator()(const at::Tensor& x_NCT) const;
};

/// Dilated and plain convolution behind snakes, residual.
struct OobleckUnit {
  Snake snake1, snake2;
  NormedConv1d conv1, conv2;
  at::Tensor operator()(const at::Tensor& x_NCT) const;
};

/// Tensor names are those of AutoencoderOobleck of diffusers.
class Oobleck {
 public:
  Oobleck() = default;
  /// Strides are even, as many as multipliers.
  Oobleck(const TakeWeight& take, const OobleckOptions& options);
  /// [N, data_channels, T] -> means, and numbers that spreads are made of: [N, 2 latent_channels, T / factor].
  at::Tensor encode(const at::Tensor& x_NCT) const;
  at::Tensor decode(const at::Tensor& z_NCT) const;

 private:
  struct Stage {
    std::vector<OobleckUnit> units;
    Snake snake;
    NormedConv1d resample;
  };
  NormedConv1d encoder_in_, encoder_out_, decoder_in_, decoder_out_;
  Snake encoder_snake_, decoder_snake_;
  std::vector<Stage> down_, up_;
};

/// Of what the encoder gives: the spread is softplus(number) + 1e-4.
Posterior oobleck_posterior(const at::Tensor& moments);

}  // namespace thaw::audio
