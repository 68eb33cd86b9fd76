#pragma once
// Runs plans on tensors. The one place where a solver meets a network.

#include <functional>

#include "core/denoiser.h"
#include "core/math/plan.h"
#include "core/noise_source.h"

namespace thaw {

/// Called at each mark with the marked state and the latest x0 estimate (empty before the first evaluation).
using Observer = std::function<void(const Mark& mark, const Latent& x, const Latent& denoised)>;

/// Runs `plan` from x. Sums in the order of the terms, then of the draws, in x's type (float64 for exact studies).
/// Throws Error (kBug) for output kinds other than kData.
Latent run_plan(const Plan& plan, const Denoiser& denoiser, Latent x, NoiseSource& noise,
                const Observer& observer = {});

}  // namespace thaw
