#pragma once
// Averages of weights kept beside the one that samples.

#include <filesystem>
#include <string>
#include <vector>

#include "core/optimizer.h"

namespace thaw {

/// Exponential ones, "decay0.99", and power-function ones, "std0.05".
class MoreAverages {
 public:
  MoreAverages(const NamedTensors& weights, const std::vector<double>& decays, const std::vector<double>& stds);
  void update(std::int64_t step);  // 1 for the first
  /// "<average>.<weight>", live.
  NamedTensors state() const;
  /// Of the power-function ones, for `thaw ema`.
  void save_snapshots(const std::filesystem::path& folder, std::int64_t step) const;

 private:
  struct Named {
    std::string name;
    WeightAverage average;
  };
  std::vector<Named> averages_;
};

}  // namespace thaw
