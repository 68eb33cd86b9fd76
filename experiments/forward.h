#pragma once
// `thaw forward`: one pass of a published network over tensors of a file.

#include <filesystem>

namespace thaw {

struct ForwardLora {
  std::filesystem::path path{};  // empty: none
  double scale = 1.0;
};

/// Reads `in`, tensors named as the arguments of the peer's forward (docs/published.md), and writes the
/// answer, float32, to `out`: `sample`, or the residuals of a ControlNet. Returns the exit code. Throws DataError.
int run_forward(const std::filesystem::path& folder, const std::filesystem::path& in, const std::filesystem::path& out,
                const ForwardLora& lora = {});

}  // namespace thaw
