#include "core/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <regex>
#include <tuple>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "core/io/safetensors.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

const std::vector<std::pair<std::string, at::ScalarType>>& types() {
  static const std::vector<std::pair<std::string, at::ScalarType>> table{
      {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16}, {"F64", at::kDouble}, {"I64", at::kLong},
      {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},       {"U8", at::kByte},    {"BOOL", at::kBool}};
  return table;
}

std::string type_name(at::ScalarType type) {
  for (const auto& [name, known] : types())
    if (known == type) return name;
  throw Error(ExitCode::kBug, "a tensor of a type that safetensors does not know");
}

at::ScalarType type_of(const std::string& name, const TensorView& view, const fs::path& path) {
  for (const auto& [known, type] : types())
    if (known == view.dtype) return type;
  throw DataError(concat(path.string(), ": tensor \"", name, "\" has type ", view.dtype, ", which is not read."));
}

at::Tensor copied_tensor(const TensorView& view, at::ScalarType type) {
  at::Tensor tensor = at::empty(view.shape, at::TensorOptions(type));
  if (!view.bytes.empty()) std::memcpy(tensor.data_ptr(), view.bytes.data(), view.bytes.size());
  return tensor;
}

constexpr int kMaxJsonDepth = 16;
constexpr std::uint64_t kMaxStateBytes = 1 << 20;

// step_0000100 -> 100, or -1.
std::int64_t step_of(const fs::path& path) {
  const std::string stem = path.stem().string();
  if (!stem.starts_with("step_") || stem.size() > 23) return -1;
  if (stem.find_first_not_of("0123456789", 5) != std::string::npos || stem.size() == 5) return -1;
  return std::stoll(stem.substr(5));
}

}  // namespace

fs::path checkpoint_path(const fs::path& folder, std::int64_t step, const std::string& suffix) {
  std::string number = std::to_string(step);
  number.insert(0, number.size() < 7 ? 7 - number.size() : 0, '0');
  return folder / concat("step_", number, suffix);
}

namespace {

// Newest first.
std::vector<std::int64_t> steps_in(const fs::path& folder) {
  std::vector<std::int64_t> steps;
  if (!fs::is_directory(folder)) return steps;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".json" && step_of(entry.path()) >= 0) steps.push_back(step_of(entry.path()));
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

void expect_config(const nlohmann::json& record, const fs::path& folder, const std::string& config_hash) {
  if (record.at("config") != config_hash)
    throw ConfigError(concat(folder.string(),
                             ": was written under another configuration, or its data has changed since. Use --fresh to "
                             "start anew, or out= for another folder."));
}

}  // namespace

void save_tensors(const fs::path& path, const NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<at::Tensor> kept;
  std::vector<NamedBytes> bytes;
  for (const auto& [name, tensor] : tensors) {
    kept.push_back(tensor.detach().to(at::kCPU).contiguous());
    const at::Tensor& dense = kept.back();
    bytes.push_back({name,
                     type_name(dense.scalar_type()),
                     dense.sizes().vec(),
                     {static_cast<const std::byte*>(dense.data_ptr()), dense.nbytes()}});
  }
  write_safetensors(path, std::move(bytes), metadata);
}

LoadedTensors load_tensors(const fs::path& path) {
  const SafetensorsFile file = open_safetensors(path);
  LoadedTensors loaded{{}, file.metadata()};
  for (const auto& [name, view] : file.tensors())
    loaded.tensors.emplace_back(name, copied_tensor(view, type_of(name, view, path)));
  return loaded;
}

LoadedTensors map_tensors(const fs::path& path) {
  const auto file = std::make_shared<const SafetensorsFile>(open_safetensors(path));
  LoadedTensors loaded{{}, file->metadata()};
  for (const auto& [name, view] : file->tensors()) {
    const at::ScalarType type = type_of(name, view, path);
    const auto address = reinterpret_cast<std::uintptr_t>(view.bytes.data());
    if (view.bytes.empty() || address % c10::elementSize(type) != 0) {
      loaded.tensors.emplace_back(name, copied_tensor(view, type));
      continue;
    }
    // The map is private and writable, see MappedFile: the cast takes nothing that was promised.
    void* data = const_cast<std::byte*>(view.bytes.data());
    loaded.tensors.emplace_back(name, at::from_blob(
                                          data, view.shape, [file](void*) {}, at::TensorOptions(type)));
  }
  return loaded;
}

void assign(const NamedTensors& targets, const NamedTensors& values, const std::string& source) {
  std::map<std::string, at::Tensor> by_name(values.begin(), values.end());
  for (const auto& [name, target] : targets) {
    const auto found = by_name.find(name);
    if (found == by_name.end())
      throw DataError(concat(source, ": has no tensor \"", name, "\": a checkpoint of another architecture."));
    if (found->second.sizes() != target.sizes())
      throw DataError(concat(source, ": tensor \"", name, "\" has shape ", found->second.sizes(), ", expected ",
                             target.sizes(), ": a checkpoint of another architecture."));
  }
  if (by_name.size() != targets.size())
    for (const auto& [name, value] : by_name)
      if (std::none_of(targets.begin(), targets.end(), [&](const auto& target) { return target.first == name; }))
        throw DataError(concat(source, ": tensor \"", name, "\" has no place in this network."));
  for (const auto& [name, target] : targets) {
    at::Tensor destination = target.detach();
    destination.copy_(by_name.at(name));
  }
}

void save_checkpoint(const fs::path& folder, const TrainState& state, const std::string& config_hash) {
  const fs::path tensors = checkpoint_path(folder, state.step, ".safetensors");
  save_tensors(tensors, state.tensors, {{"step", std::to_string(state.step)}});
  const nlohmann::json json{{"step", state.step},         {"seconds", state.seconds},
                            {"config", config_hash},      {"micro_batch", state.micro_batch},
                            {"left_out", state.left_out}, {"content", content_hash(read_file(tensors))}};
  write_file(checkpoint_path(folder, state.step, ".json"), json.dump(2) + "\n");
}

std::optional<TrainState> load_newest_checkpoint(const fs::path& folder, const std::string& config_hash) {
  for (const std::int64_t step : steps_in(folder)) {
    const fs::path tensors = checkpoint_path(folder, step, ".safetensors");
    try {
      const nlohmann::json json =
          parse_json_file(checkpoint_path(folder, step, ".json"), kMaxStateBytes, kMaxJsonDepth);
      if (json.at("content") != content_hash(read_file(tensors)))
        throw DataError(concat(tensors.string(), ": is not what was written (its hash differs)."));
      expect_config(json, folder, config_hash);
      return TrainState{step, json.at("seconds").get<double>(), load_tensors(tensors).tensors,
                        json.value("micro_batch", std::int64_t{0}),
                        json.value("left_out", std::vector<std::int64_t>{})};
    } catch (const DataError& error) {
      std::fprintf(stderr, "%s Trying the one before.\n", error.what());
    } catch (const nlohmann::json::exception& error) {
      std::fprintf(stderr, "%s: %s. Trying the one before.\n", tensors.c_str(), error.what());
    }
  }
  return std::nullopt;
}

NamedTensors newest_checkpoint_tensors(const fs::path& folder) {
  for (const std::int64_t step : steps_in(folder)) {
    const fs::path tensors = checkpoint_path(folder, step, ".safetensors"),
                   record = checkpoint_path(folder, step, ".json");
    if (!fs::exists(record)) continue;
    const nlohmann::json json = parse_json_file(record, kMaxStateBytes, kMaxJsonDepth);
    if (json.value("content", "") == content_hash(read_file(tensors))) return load_tensors(tensors).tensors;
  }
  throw DataError(concat(folder.string(), ": holds no whole checkpoint."));
}

void expect_own_checkpoints(const fs::path& folder, const std::string& config_hash) {
  const std::vector<std::int64_t> steps = steps_in(folder);
  if (steps.empty()) return;
  const fs::path record = checkpoint_path(folder, steps.front(), ".json");
  try {
    expect_config(parse_json_file(record, kMaxStateBytes, kMaxJsonDepth), folder, config_hash);
  } catch (const DataError&) {
    // A damaged record is passed over when the checkpoint is loaded.
  } catch (const nlohmann::json::exception&) {
  }
}

void save_snapshot(const fs::path& folder, std::int64_t step, const std::string& name, const NamedTensors& tensors) {
  save_tensors(checkpoint_path(folder, step, "_" + name + ".safetensors"), tensors,
               {{"step", std::to_string(step)}, {"average", name}});
}

std::vector<Snapshot> snapshots_in(const fs::path& folder) {
  static const std::regex pattern("step_([0-9]{7,12})_(.+)\\.safetensors");
  std::vector<Snapshot> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    std::smatch match;
    const std::string name = entry.path().filename().string();
    if (std::regex_match(name, match, pattern)) found.push_back({std::stoll(match[1]), match[2], entry.path()});
  }
  std::sort(found.begin(), found.end(),
            [](const Snapshot& a, const Snapshot& b) { return std::tie(a.step, a.name) < std::tie(b.step, b.name); });
  return found;
}

void prune_checkpoints(const fs::path& folder, std::size_t count) {
  const std::vector<std::int64_t> steps = steps_in(folder);
  for (std::size_t i = count; i < steps.size(); ++i) {
    // The record first: without it the tensors do not count.
    fs::remove(checkpoint_path(folder, steps[i], ".json"));
    fs::remove(checkpoint_path(folder, steps[i], ".safetensors"));
  }
}

}  // namespace thaw
