#pragma once
// Models with an exact denoiser.

#include "core/backbone.h"

namespace thaw {

void register_exact_backbones(BackboneRegistry& registry);

}  // namespace thaw
