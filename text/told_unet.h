#pragma once
// The U-Net as a backbone, of pictures and of clips.

#include "text/told_backbone.h"

namespace thaw::text {

/// With the modality's own `multipliers` and `attention` as defaults.
std::vector<Option> unet_options(std::vector<double> multipliers, std::vector<double> attention);

/// Of samples [C, H, W], or clips [C, T, H, W]. Throws ConfigError where a side cannot be halved once a level.
std::unique_ptr<Backbone> make_told_unet(const Settings& settings, const DataSpec& spec, std::uint64_t seed);

}  // namespace thaw::text
