#pragma once
// A model directory of ours: thaw.yaml, model.safetensors, card.md.

#include <filesystem>

#include "experiments/experiment.h"

namespace thaw {

struct LoadedModel {
  std::unique_ptr<Experiment> experiment;
  Model model;
};

/// Opens a model directory, a run folder (its model/), a published network in diffusers' layout, or a configuration
/// whose backbone brings its weights along or that names its `model:` (fresh weights are refused: DataError).
/// `overrides` are applied to its configuration.
LoadedModel open_model(const std::filesystem::path& path, const Catalog& catalog,
                       const std::vector<std::string>& overrides = {});

/// Throws DataError: "`path`: is a classifier; `consequence`", or an autoencoder.
void expect_denoiser(const Experiment& experiment, const std::string& path, const std::string& consequence);

/// Puts the averaged weights of a checkpoint in place of a run's finished ones. Throws DataError where there is none.
void load_checkpoint_average(Model& model, const std::filesystem::path& run, std::int64_t step);

/// Writes a model directory; `type` of the weights is float32 or float16. card.md carries `facts`.
void save_model(const std::filesystem::path& folder, const Experiment& experiment, const Model& model,
                const std::string& type, const std::vector<std::pair<std::string, std::string>>& facts);

}  // namespace thaw
