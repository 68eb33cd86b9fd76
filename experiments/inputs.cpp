#include "experiments/inputs.h"

#include <algorithm>

namespace thaw {

namespace fs = std::filesystem;

std::vector<fs::path> model_files(const fs::path& path) {
  fs::path folder = path;
  if (!fs::exists(folder / "thaw.yaml") && fs::exists(folder / "model" / "thaw.yaml")) folder /= "model";
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string suffix = entry.path().extension().string();
    if (entry.is_regular_file() && (suffix == ".safetensors" || suffix == ".json" || suffix == ".yaml"))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace thaw
