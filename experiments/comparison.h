#pragma once
// Samplers side by side at equal cost, on the same noise.

#include <filesystem>

#include "experiments/evaluation.h"

namespace thaw {

/// Every sampler at every budget of network evaluations (guidance's second branch not counted): the largest plan
/// within it. All cells start from the same noise of the same samples. Pictures go to <folder>/pictures; finished cells
/// are kept in <folder>/compare.cells.json, so that a comparison that was stopped goes on behind them, and one of more
/// cells computes only the new ones.
nlohmann::json compare_samplers(const Experiment& experiment, const Model& model, Evaluator& evaluator,
                                const std::filesystem::path& folder);

/// A comparison into its folder, with the page: what `thaw compare` does. Returns {"quality", "n", "cells"}.
nlohmann::json run_comparison(const LoadedModel& loaded, const std::filesystem::path& folder,
                              const std::string& command);

}  // namespace thaw
