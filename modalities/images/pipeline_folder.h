#pragma once
// Folders of whole pipelines in the layout of diffusers: model_index.json and a folder a part.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "modalities/images/published.h"

namespace thaw::image {

/// How prompts, sizes and guidance reach the network.
enum class PipelineFamily {
  kPlain,   // nothing but noise
  kLabels,  // DiT
  kSd,      // Stable Diffusion 1 and 2, latent consistency models
  kSdxl,    // two encoders and sizes
  kSd3,     // three encoders
  kPixArt,  // T5 and its mask
  kFlux,    // pooled text of a CLIP, states of T5, a scale that the network is told
};

struct PipelinePart {
  std::string name, class_name;
  std::filesystem::path folder;
  bool is_used = true;  // false: safety checkers and the like
};

struct PipelineFolder {
  std::filesystem::path path;
  std::string class_name;
  PipelineFamily family = PipelineFamily::kPlain;
  std::vector<PipelinePart> parts;
  bool zeroes_empty_prompt = true;  // SDXL: no negative prompt is zeros, not the empty text

  const PipelinePart* find(const std::string& name) const;
  /// unet or transformer.
  const PipelinePart& denoiser() const;
  bool has_autoencoder() const { return find("vae") != nullptr; }
};

/// True where the folder holds model_index.json.
bool is_pipeline(const std::filesystem::path& folder);
/// The values of `_class_name` that are read.
const std::vector<std::string>& pipeline_class_names();
/// Reads the index and looks at what is there; opens no weights. Throws DataError for a class that is not read, with
/// those that are; a part that is missing, of another class, not a folder beside the index, or of pickles alone.
PipelineFolder open_pipeline_folder(const std::filesystem::path& path);

struct WeightFacts {
  std::int64_t tensors = 0, parameters = 0, files = 0;
  std::uint64_t bytes = 0;
  std::map<std::string, std::int64_t> parameters_by_type{};  // by safetensors' names of types
};
/// From headers alone. Throws DataError for a missing shard and damaged files.
WeightFacts weight_facts(const std::filesystem::path& folder);

/// Throws DataError, naming the script that converts, where a folder has pickles and no safetensors.
void expect_safetensors(const std::filesystem::path& folder);

}  // namespace thaw::image
