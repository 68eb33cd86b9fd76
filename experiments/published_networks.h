#pragma once
// The published denoisers of all modalities.

#include "core/published_network.h"

namespace thaw {

const PublishedDenoisers& published_denoisers();

}  // namespace thaw
