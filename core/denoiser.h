#pragma once
// A denoiser is a function; everything that changes what it answers is a function around it.

#include <functional>
#include <optional>
#include <vector>

#include "core/base/registry.h"
#include "core/latent.h"
#include "core/math/level.h"

namespace thaw {

/// What a denoiser is asked to condition on. Several branches of one query go through the network as one batch.
enum class Branch { kConditional, kUnconditional };

struct Query {
  Level at;
  std::optional<Level> target{};  // second time of flow-map networks
  std::vector<Branch> branches{Branch::kConditional};
};

/// The x0 estimates, one a branch, in the order asked.
using Outputs = std::vector<Latent>;
using Denoiser = std::function<Outputs(const Latent& x, const Query& query)>;

/// Weights of the branches at a level; they sum to 1. An absent branch is not evaluated.
using Guidance = std::function<std::vector<std::pair<Branch, double>>(const Level&)>;
using GuidanceRegistry = Registry<Guidance>;
void register_guidance(GuidanceRegistry& registry);

/// Answers every query with the weighted sum of the branches the guidance asks for at that level.
Denoiser with_guidance(Denoiser denoiser, Guidance guidance);

/// Fraction of the way from clean (0) to pure noise (1) that a level stands for on any path: its angle
/// atan(sigma / alpha) over pi / 2. The cosine schedule's t.
double noise_fraction(const Level& level);

}  // namespace thaw
