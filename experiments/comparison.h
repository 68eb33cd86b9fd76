#pragma once
// Samplers side by side at equal cost, on the same noise.

#include <filesystem>

#include "experiments/evaluation.h"

namespace thaw {

/// Every sampler at every budget of network evaluations (guidance's second branch not counted): the largest plan
/// within it. All cells start from the same noise of the same samples. Pictures go to `pictures`.
nlohmann::json compare_samplers(const Experiment& experiment, const Model& model, Evaluator& evaluator,
                                const std::filesystem::path& pictures);

}  // namespace thaw
