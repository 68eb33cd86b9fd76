#pragma once
// What the positions of a sample see of a plan's one clock.

#include <cstdint>
#include <functional>
#include <vector>

#include "core/base/registry.h"
#include "core/executor.h"

namespace thaw {

/// How many rounds of evaluation each of `positions` positions (of the first dimension behind the channels) begins
/// later than the clock, of a plan with so many evaluations. Empty: all see the same.
using LevelMap = std::function<std::vector<std::int64_t>(std::int64_t positions, std::int64_t evaluations)>;
using LevelMapRegistry = Registry<LevelMap>;

/// Adds same, pyramid and autoregressive.
void register_level_maps(LevelMapRegistry& registry);

/// Runs the plan for every position, each with registers of its own and as many rounds late as the map says; in each
/// round all positions ask as one state, whose parts (Query::parts) are at levels of their own: those that wait at the
/// plan's first level, those that are done at its last. So every plan keeps its own coefficients at every position, and
/// where estimates of positions do not depend on each other, no bit depends on the map. Chen et al. 2024 (Diffusion
/// forcing), section 3 and appendix, whose scheduling matrix the delays are.
///
/// `is_settled`: positions that are what they will be in x already, for all samples: they are clean from the first
/// round on and no round is held for them. Empty: none.
///
/// Throws ConfigError for states of several streams or without such a dimension, and for plans that tell a network
/// where they go (Evaluate::target).
MethodRun run_plan_apart(const Plan& plan, const Denoiser& denoiser, const Latent& x, NoiseSource& noise,
                         const LevelMap& map, const std::vector<bool>& is_settled = {});

}  // namespace thaw
