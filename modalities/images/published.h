#pragma once
// Published networks: a model directory of diffusers (config.json and safetensors weights) as a Backbone.
// Behaviour and tensor names are those of diffusers 0.42.1.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/backbone.h"

namespace thaw::image {

struct PublishedNetwork {
  std::unique_ptr<Backbone> backbone{};
  std::string class_name{};
  DataSpec spec{};           // input channels, the size it was trained at, classes
  bool learns_variance = false;
  std::string input_name{};  // what the peer's forward calls the picture: sample, hidden_states
};

/// The values of `_class_name` that are read.
const std::vector<std::string>& published_class_names();

/// Reads config.json and the weights, as float32 on the CPU. Every key of the configuration is used or refused by name;
/// takes memory in proportion to the weight file, whatever the configuration says. Throws DataError.
PublishedNetwork open_published_network(const std::filesystem::path& folder);

/// Its forward takes x [N, C, H, W], noise = the peer's timestep [N], condition "label" int64 [N] where the network has
/// classes; throws DataError when one of them does not fit the network.
std::unique_ptr<Backbone> open_published(const std::filesystem::path& folder);

}  // namespace thaw::image
