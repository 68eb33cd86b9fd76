#pragma once
// The main job in small, and what is compared of its runs.

#include <filesystem>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "tests/experiments/program.h"

namespace thaw::test {

// The main job in small: a tiny network, few steps, the shipped judge and features.
inline const char* const kTiny = R"(
seed: 3
precision: float32
dataset: {type: mnist, path: data/mnist, split: train, range: [0, 512]}
objective: {type: denoising, prediction: v}
backbone: {type: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
train: {steps: 12, batch: 16, checkpoint_every: 4, preview_every: 6, validate_every: 6, log_every: 2, optimizer: {warmup: 2}}
sampler: ddim
grid: {type: trailing, steps: 4}
guidance: {type: cfg, scale: 2.0}
sampling: {micro_batch: 10}
evaluate: {n: 20, metrics: [class_agreement, frechet], features: models/digit_features, judge: models/digit_judge}
compare: {samplers: [ddim, heun], evaluations: [1, 5], n: 10}
report: {title: Tiny <digits>}
)";

inline std::filesystem::path tiny_config(const Scratch& scratch) {
  std::ofstream(scratch / "tiny.yaml") << kTiny;
  return scratch / "tiny.yaml";
}

inline nlohmann::json json_of(const std::filesystem::path& path) {
  return nlohmann::json::parse(read_file(path));
}

// metrics.jsonl without clock times.
inline std::string log_of(const std::filesystem::path& run) {
  std::string text;
  std::ifstream lines(run / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json json = nlohmann::json::parse(line);
    json.erase("seconds");
    text += json.dump() + "\n";
  }
  return text;
}

}  // namespace thaw::test
