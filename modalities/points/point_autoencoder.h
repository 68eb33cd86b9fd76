#pragma once
// Clouds to latents and back: a few columns of the cloud as a whole beside one column a point.
// N batch, C channels of a latent column, K points, G global columns, D features, E features of a context

#include <cstdint>
#include <vector>

#include "core/autoencoder.h"
#include "core/nn/layers.h"

namespace thaw::points {

struct PointAutoencoderOptions {
  std::int64_t data_channels = 3;   // x y z first
  std::int64_t local_channels = 1;  // of a point's latents beside data_channels
  std::int64_t globals = 8;         // columns of channels() numbers
  std::int64_t features = 64, depth = 3;
  bool decoder_pools = true;  // it sees all latent points; else each alone beside the global latent

  std::int64_t channels() const { return data_channels + local_channels; }
};

/// Layers of each point alone, between which, where it `pools`, the maximum and mean over all points come in: Zaheer et
/// al. 2017 (Deep Sets), Qi et al. 2017 (PointNet). With a context, which scales, shifts and gates: Peebles and Xie
/// 2023.
class PooledLayers {
 public:
  PooledLayers() = default;
  /// context 0: none.
  PooledLayers(const Scope& scope, std::int64_t in, std::int64_t features, std::int64_t depth, std::int64_t context,
               bool pools = true);
  /// x [N, K, in], context [N, 1, E] or undefined: [N, K, D], normed.
  at::Tensor operator()(const at::Tensor& x_NKC, const at::Tensor& context_N1E = {}) const;

 private:
  struct Block {
    nn::LayerNorm norm;
    nn::Linear mlp1, pool, mlp2, modulate;  // pool, modulate: without weights where there is none
  };
  nn::Linear points_;
  std::vector<Block> blocks_;
  nn::LayerNorm norm_;
};

/// Maximum and mean over the points: [N, K, D] -> [N, 1, 2 D].
at::Tensor pooled(const at::Tensor& x_NKD);

/// Zeng et al. 2022 (LION), section 3.1: a global latent and latent points, which are the cloud's points with
/// local_channels more numbers, each of them normal; the decoder gives a point for each latent point. The columns
/// [C, K + G] hold the K latent points in the order of the points, and then the global latent. Moving points moves
/// their columns and nothing else. As LION's, it begins as the identity with little noise, and the global latent
/// reaches the decoder by modulation. Where the decoder pools, it can read the shape from the latent points, and the
/// global latent falls silent. Other than LION's, the latent points are told of the global latent's mean, not of a
/// draw, so that one normal is the posterior of all.
class PointAutoencoder : public AutoencoderNetwork {
 public:
  PointAutoencoder(const PointAutoencoderOptions& options, std::uint64_t seed);
  /// z [N, C, K + G] -> [N, data_channels, K]. Throws DataError where there is no latent point.
  at::Tensor decoded(const at::Tensor& z) const override;

 protected:
  at::Tensor moments(const at::Tensor& x) const override;

 private:
  /// The context of a global latent [N, C, G].
  static at::Tensor told(const nn::Linear& first, const nn::Linear& second, const at::Tensor& globals_NCG);

  PointAutoencoderOptions options_;
  PooledLayers whole_, local_, decoder_;
  nn::Linear globals1_, globals2_, local_told1_, local_told2_, latents_, decoder_told1_, decoder_told2_, out_;
};

}  // namespace thaw::points
