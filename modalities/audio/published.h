#pragma once
// Published networks of sounds: model directories of diffusers, with the behaviour and tensor names of 0.42.1.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/autoencoder.h"
#include "core/nn/layers1d.h"
#include "core/published_network.h"

namespace thaw::audio {

/// UNet1DModel (the blocks of Dance Diffusion) and StableAudioDiTModel. Their forward takes x [N, C, T], noise = the
/// peer's timestep [N], and as conditions of StableAudioDiTModel
///   "text" [N, L, D]                        states of text and duration
///   "global" [N, 1, D]                      of the duration, put before the sound
///   "mask" [N, T], "text_mask" [N, L]       1 where something stands, whole numbers or booleans
/// throws DataError when one of them does not fit the network.
const PublishedDenoisers& published_denoisers();

std::unique_ptr<Backbone> make_published_unet1d(PublishedConfig& config, PublishedSource source);
std::unique_ptr<Backbone> make_published_stable_audio(PublishedConfig& config, PublishedSource source);

/// AutoencoderOobleck: sounds [N, channels, T] in [-1, 1].
const std::vector<std::string>& published_autoencoder_names();
struct PublishedSoundAutoencoder {
  std::unique_ptr<Autoencoder> network;
  std::int64_t rate_hz;
};
/// Throws DataError.
PublishedSoundAutoencoder open_published_autoencoder(const std::filesystem::path& folder, WeightType type = at::kFloat);

/// [N, C, T] -> [N, C', T] with weights of that name; kernels are odd and keep the length.
nn::Conv1d published_conv1d(PublishedWeights& weights, const std::string& name, std::int64_t in, std::int64_t out,
                            std::int64_t kernel, bool has_bias = true);

}  // namespace thaw::audio
