#include "core/averages.h"

#include "core/base/text.h"
#include "core/checkpoint.h"

namespace thaw {

MoreAverages::MoreAverages(const NamedTensors& weights, const std::vector<double>& decays,
                           const std::vector<double>& stds) {
  for (const double decay : decays)
    averages_.push_back({concat("decay", format_double(decay)), WeightAverage(weights, exponential_decay(decay))});
  for (const double std : stds)
    averages_.push_back({concat("std", format_double(std)), WeightAverage(weights, power_decay_rule(std))});
}

void MoreAverages::update(std::int64_t step) {
  for (Named& one : averages_) one.average.update(step);
}

NamedTensors MoreAverages::state() const {
  NamedTensors state;
  for (const auto& [average, values] : averages_)
    for (const auto& [name, tensor] : values.tensors()) state.emplace_back(average + "." + name, tensor);
  return state;
}

void MoreAverages::save_snapshots(const std::filesystem::path& folder, std::int64_t step) const {
  for (const auto& [name, values] : averages_)
    if (name.starts_with("std")) save_snapshot(folder, step, name, values.tensors());
}

}  // namespace thaw
