#pragma once
// `thaw forward`: one pass of a published network over tensors of a file.

#include <filesystem>

namespace thaw {

/// Reads `in` (sample or hidden_states, timestep, class_labels: the names of the peer's arguments) and writes the
/// tensor `sample`, float32, to `out`. Returns the exit code. Throws DataError.
int run_forward(const std::filesystem::path& folder, const std::filesystem::path& in, const std::filesystem::path& out);

}  // namespace thaw
