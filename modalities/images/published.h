#pragma once
// Published networks: a model directory of diffusers (config.json and safetensors weights, in one file or in shards) as
// a Backbone, an Autoencoder or a ControlNet. Behaviour and tensor names are those of diffusers 0.42.1.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/autoencoder.h"
#include "core/published_network.h"
#include "modalities/images/published_controlnet.h"

namespace thaw::image {

using thaw::PublishedNetwork;
using thaw::WeightType;

enum class PublishedKind { kDenoiser, kAutoencoder, kControlNet };

/// The values of `_class_name` that are read.
const std::vector<std::string>& published_class_names();
/// What the folder's `_class_name` says. Throws DataError.
PublishedKind published_kind(const std::filesystem::path& folder);

/// The classes of denoisers among them.
const PublishedDenoisers& published_denoisers();

/// See open_published in core/published_network.h.
PublishedNetwork open_published_network(const std::filesystem::path& folder, WeightType type = at::kFloat,
                                        bool is_mapped = false);
std::unique_ptr<Autoencoder> open_published_autoencoder(const std::filesystem::path& folder,
                                                        WeightType type = at::kFloat);
std::unique_ptr<ControlNet> open_published_controlnet(const std::filesystem::path& folder,
                                                      WeightType type = at::kFloat);

/// Its forward takes x [N, C, H, W], noise = the peer's timestep [N] (1000 sigma for SD3 and Flux), and as conditions
///   "label" int64 [N]                 where the network has classes
///   "text" [N, T, D], "text_mask" [N, T], "pooled" [N, D], "time_ids" [N, 6]
///   "guidance" [N]                    Flux with guidance_embeds: the scale
///   "time_features" [N, D]            UNets with time_cond_proj_dim
///   "resolution" [N, 2], "aspect_ratio" [N, 1]   PixArt for 1024 x 1024
///   "down_residual.0" ..., "middle_residual"     of a ControlNet, for UNets
/// throws DataError when one of them does not fit the network.
std::unique_ptr<Backbone> open_published(const std::filesystem::path& folder, WeightType type = at::kFloat);

}  // namespace thaw::image
