#pragma once
// Several states at levels of their own as one batch, and back.

#include <span>
#include <vector>

#include "core/denoiser.h"

namespace thaw {

/// One batch of the states, one lane after the other.
Latent join_lanes(std::span<const Latent* const> states);
/// Lane `index` of `count`, a view.
Latent lane_of(const Latent& joined, std::size_t index, std::size_t count);

/// Asks a denoiser that knows nothing of lanes once a lane.
Outputs ask_by_lane(const Denoiser& denoiser, const Latent& x, const Query& query);

}  // namespace thaw
