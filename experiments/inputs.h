#pragma once
// What the files hold that a configuration only names: data, networks that measure, weights to start from.

#include <filesystem>
#include <vector>

#include "core/io/input_hashes.h"

namespace thaw {

/// The configuration and weights of a model directory or finished run, as open_model finds them; none where there is
/// nothing of the kind.
std::vector<std::filesystem::path> model_files(const std::filesystem::path& path);

}  // namespace thaw
