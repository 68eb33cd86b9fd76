#pragma once
// Trained networks that diffusers has a class for, in its layout.

#include <filesystem>
#include <optional>

#include "experiments/catalog.h"

namespace thaw {

/// A model directory of ours, or a run that has one.
bool is_own_model(const std::filesystem::path& path);

/// config.json and weights into a folder. type: of the weights, nullopt: float32. Throws ConfigError for a network that
/// diffusers has no class for.
void export_own_network(const std::filesystem::path& path, const std::filesystem::path& out,
                        std::optional<at::ScalarType> type, const Catalog& catalog);

}  // namespace thaw
