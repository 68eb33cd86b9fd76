#pragma once
// Published denoisers: a model directory of diffusers (config.json and safetensors weights, in one file or in shards)
// as a Backbone. Which classes there are each modality says in a table of its own.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/backbone.h"
#include "core/published.h"

namespace thaw {

/// An argument of the peer's forward and the condition it becomes. A name that ends with a dot stands for a numbered
/// list of tensors.
struct PublishedArgument {
  std::string name, condition;
};

struct PublishedNetwork {
  std::unique_ptr<Backbone> backbone{};
  std::string class_name{};
  DataSpec spec{};  // input channels, the size it was trained at, classes
  bool learns_variance = false;
  std::string input_name{};  // what the peer's forward calls its input: sample, hidden_states
  std::vector<PublishedArgument> arguments{};
  double timestep_scale = 1.0;  // times the peer's timestep: what the backbone is told
};

/// The type of the weights in memory; nullopt: as they are stored. Weights of that type are views of the mapped file.
using WeightType = std::optional<at::ScalarType>;

/// What one class needs to be read.
struct PublishedDenoiser {
  std::string input_name;
  DataSpec (*spec)(PublishedConfig&);                 // what config.json says of a sample
  std::int64_t (*output_channels)(PublishedConfig&);  // as many as the sample has, or twice: a learned variance
  std::unique_ptr<Backbone> (*make)(PublishedConfig&, PublishedSource);
  std::vector<PublishedArgument> arguments{};
  double timestep_scale = 1.0;
};

/// By the value of `_class_name`.
using PublishedDenoisers = std::map<std::string, PublishedDenoiser>;

/// config.json of a folder, whose `_class_name` is one of `allowed`. Throws DataError.
struct OpenPublishedConfig {
  PublishedConfig config;
  std::string class_name;
};
OpenPublishedConfig open_published_config(const std::filesystem::path& folder, const std::vector<std::string>& allowed);

/// Reads config.json and the weights, on the CPU. Every key of the configuration is used or refused by name; takes
/// memory in proportion to the weight file, whatever the configuration says. Throws DataError.
/// is_mapped: weights stay in the file as they are stored, to be streamed in `type` (core/nn/streaming.h).
PublishedNetwork open_published(const std::filesystem::path& folder, const PublishedDenoisers& classes,
                                WeightType type = at::kFloat, bool is_mapped = false);

/// The backbone "published": a network of any of these classes, as a configuration names it. The table outlives it.
void register_published(BackboneRegistry& registry, const PublishedDenoisers& classes);

}  // namespace thaw
