#pragma once
// Weights on disk: safetensors always, never a pickle.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "core/nn/parameters.h"

namespace thaw {

struct LoadedTensors {
  NamedTensors tensors;
  std::map<std::string, std::string> metadata;
};

void save_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata = {});
/// Copies on the CPU. `path` is a file, an index of shards (any stem), or a model folder.
LoadedTensors load_tensors(const std::filesystem::path& path);
/// The same without a copy: each tensor is a view of the mapped file, which stays mapped as long as one of them lives.
/// Pages come in as they are read; writing into a tensor changes memory, not the file. Tensors that a foreign file
/// leaves unaligned are copied.
LoadedTensors map_tensors(const std::filesystem::path& path);

/// Copies values by name, converting the type. Throws DataError naming the first tensor that is missing, left over
/// or of another shape: a checkpoint of another architecture.
void assign(const NamedTensors& targets, const NamedTensors& values, const std::string& source);

/// State of a training after a number of steps.
struct TrainState {
  std::int64_t step = 0;
  double seconds = 0.0;  // of training so far
  NamedTensors tensors{};
  std::int64_t micro_batch = 0;          // in use; 0 in records that do not say
  std::vector<std::int64_t> left_out{};  // steps whose loss or gradient was not finite
};

/// run/checkpoints/step_0000100.safetensors, then .json with its content hash: only a pair whose hash agrees counts.
void save_checkpoint(const std::filesystem::path& folder, const TrainState& state, const std::string& config_hash);
/// The newest whole checkpoint; damaged ones are passed over with a line on stderr. Throws ConfigError when it was
/// written under another configuration.
std::optional<TrainState> load_newest_checkpoint(const std::filesystem::path& folder, const std::string& config_hash);
/// The tensors of the newest whole checkpoint, whatever configuration wrote it. Throws DataError where there is none.
NamedTensors newest_checkpoint_tensors(const std::filesystem::path& folder);
/// The same refusal without reading tensors.
void expect_own_checkpoints(const std::filesystem::path& folder, const std::string& config_hash);
/// Snapshots of averages for `thaw ema`: <folder>/step_0000100_<name>.safetensors, never pruned.
struct Snapshot {
  std::int64_t step = 0;
  std::string name;
  std::filesystem::path path;
};
void save_snapshot(const std::filesystem::path& folder, std::int64_t step, const std::string& name,
                   const NamedTensors& tensors);
/// By step, then name.
std::vector<Snapshot> snapshots_in(const std::filesystem::path& folder);

/// folder/step_0000100<suffix>.
std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t step,
                                      const std::string& suffix);
/// Keeps the newest `count`.
void prune_checkpoints(const std::filesystem::path& folder, std::size_t count);

}  // namespace thaw
