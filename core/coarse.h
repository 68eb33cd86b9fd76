#pragma once
// Cascades: a network that is told the sample at a coarser resolution and gives what it lacks. What it is told has
// noise of a level it is told too, so that it forgives the faults of whatever drew it (noise conditioning
// augmentation). Ho et al. 2022 (Cascaded diffusion models), section 4; Saharia et al. 2022 (Imagen), section 2.3 and
// algorithm 1.

#include <cstdint>
#include <span>

#include "core/model.h"

namespace thaw {

/// Means over blocks of `factor` a side. x [N, C, ...]; every dimension behind the channels divides by it.
at::Tensor coarse_of(const at::Tensor& x, std::int64_t factor);

/// The level that share u in [0, 1] of the way from clean to pure noise stands for: alpha = cos(pi u / 2).
Level coarse_level(double u);

/// "coarse" alpha_u coarse + sigma_u eps and "coarse_noise" u [N] for the condition, each sample at its own u.
void tell_coarse(Condition& condition, const at::Tensor& coarse, const at::Tensor& eps, std::span<const double> u);

/// The condition of training examples x0 [N, ...] with what the model is told of them, at u uniform in [0, 1]; of a
/// model that is told nothing coarser unchanged. Each sample's numbers are named by (seed, sample).
Condition with_coarse(const Model& model, const at::Tensor& x0, Condition condition, std::uint64_t seed,
                      std::span<const std::uint64_t> samples);

}  // namespace thaw
