#pragma once
// Goldens of pipelines: configurations as diffusers wrote them, weights by the formula of tests/peers/pipelines.py.

#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/io/safetensors.h"
#include "tests/experiments/program.h"

namespace thaw::test {

inline std::filesystem::path golden_pipeline(const std::string& name) {
  return std::filesystem::path(THAW_SOURCE_DIR) / "tests" / "golden" / "pipelines" / name;
}

/// splitmix64 of FNV-1a of the name, uniform, about 1 / sqrt(fan in); norms about 1.
inline std::vector<float> formula_weights(const std::string& name, const std::vector<std::int64_t>& shape) {
  std::uint64_t state = 0xCBF29CE484222325U;
  for (const char c : name) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  std::uint64_t count = 1, fan_in = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    count *= static_cast<std::uint64_t>(shape[i]);
    if (i > 0) fan_in *= static_cast<std::uint64_t>(shape[i]);
  }
  const bool is_norm = name.find("norm") != std::string::npos && name.ends_with("weight");
  const double scale =
      shape.size() < 2 ? 0.125 : 1.5 * std::exp2(-((static_cast<int>(std::bit_width(fan_in)) - 1) / 2));
  std::vector<float> values;
  for (std::uint64_t i = 1; i <= count; ++i) {
    std::uint64_t z = state + i * 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    const double uniform = static_cast<double>((z ^ (z >> 31)) >> 40) * 0x1p-23 - 1.0;
    values.push_back(static_cast<float>(uniform * scale + (shape.size() < 2 && is_norm ? 1.0 : 0.0)));
  }
  return values;
}

/// {"a": {"b": shape}} as {"a.b": shape}.
inline void flatten_names(const nlohmann::json& nested, const std::string& prefix, nlohmann::json& flat) {
  for (const auto& [name, value] : nested.items())
    if (value.is_array())
      flat[prefix + name] = value;
    else
      flatten_names(value, prefix + name + ".", flat);
}

inline void write_formula_file(const std::filesystem::path& path, const nlohmann::json& nested) {
  nlohmann::json shapes = nlohmann::json::object();
  flatten_names(nested, "", shapes);
  std::vector<std::vector<float>> values;
  std::vector<NamedBytes> tensors;
  for (const auto& [name, shape] : shapes.items()) {
    const auto sides = shape.get<std::vector<std::int64_t>>();
    values.push_back(formula_weights(name, sides));
    tensors.push_back({name, "F32", sides, std::as_bytes(std::span(values.back()))});
  }
  write_safetensors(path, tensors, {{"format", "pt"}});
}

/// The whole folder under the scratch folder.
inline std::filesystem::path make_pipeline(const Scratch& scratch, const std::string& name) {
  namespace fs = std::filesystem;
  const fs::path folder = scratch / name, tokens = fs::path(THAW_SOURCE_DIR) / "tests" / "golden" / "text" / "tokens";
  fs::copy(golden_pipeline(name), folder, fs::copy_options::recursive);
  nlohmann::json made = nlohmann::json::parse(read_file(folder / "made.json"));
  if (made.contains("base")) {
    const nlohmann::json base =
        nlohmann::json::parse(read_file(golden_pipeline(made["base"].get<std::string>()) / "made.json"))["tensors"];
    for (auto& [file, shapes] : made["tensors"].items()) {
      nlohmann::json whole = base.value(file, nlohmann::json::object());
      whole.update(shapes, true);
      shapes = whole;
    }
  }
  for (const auto& [part, vocabulary] : made["tokenizers"].items())
    fs::copy(tokens / vocabulary.get<std::string>(), folder / part, fs::copy_options::recursive);
  for (const auto& [file, shapes] : made["tensors"].items()) write_formula_file(folder / file, shapes);
  return folder;
}

}  // namespace thaw::test
