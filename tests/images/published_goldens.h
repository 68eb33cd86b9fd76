#pragma once
// Goldens of published networks and changed copies of them.

#include <filesystem>
#include <string>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint.h"

namespace thaw::testing {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(THAW_SOURCE_DIR) / "tests" / "golden" / name;
}

inline at::Tensor tensor_of(const std::filesystem::path& path, const std::string& name) {
  for (const auto& [known, tensor] : thaw::load_tensors(path).tensors)
    if (known == name) return tensor;
  throw thaw::DataError(path.string() + ": has no " + name);
}

inline double largest(const at::Tensor& tensor) {
  const at::Tensor value = tensor.abs().max().to(at::kDouble);
  return *value.data_ptr<double>();
}

/// The golden's configuration with one key changed, beside the golden's weights.
inline std::filesystem::path changed(const std::filesystem::path& folder, const std::string& name,
                                     const std::string& key, const nlohmann::json& value) {
  const char* weights = "diffusion_pytorch_model.safetensors";
  std::filesystem::copy_file(golden(name) / weights, folder / weights,
                             std::filesystem::copy_options::overwrite_existing);
  nlohmann::json config = nlohmann::json::parse(thaw::read_file(golden(name) / "config.json"));
  config[key] = value;
  thaw::write_file(folder / "config.json", config.dump());
  return folder;
}

}  // namespace thaw::testing
