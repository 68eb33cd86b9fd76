// What part of samples is given, and how a network is told.

#include <algorithm>

#include "experiments/experiment.h"

namespace thaw {

namespace {

bool is_told_given(const Config& section, const BackboneRegistry& backbones) {
  const auto& entry = backbones.find(section, "unet");
  const bool can_be =
      std::ranges::any_of(entry.info.options, [](const Option& option) { return option.name == "given"; });
  return can_be && backbones.read(section, entry).flag("given");
}

}  // namespace

bool Experiment::tells_given_by_level() const {
  if (!is_denoiser()) return false;
  const Config section = config_.section("objective");
  const auto& entry = catalog_->objectives.find(section, "denoising");
  const bool can_be =
      std::ranges::any_of(entry.info.options, [](const Option& option) { return option.name == "levels_of"; });
  return can_be && catalog_->objectives.read(section, entry).text("levels_of") == "parts";
}

void Experiment::read_task() {
  if (!config_.has("task")) return;
  const Config section = config_.section("task");
  task_ = catalog_->tasks.create(section, "none");
  if (task_ && !is_told_given(config_.section("backbone"), catalog_->backbones) && !tells_given_by_level())
    section.fail("type",
                 "nothing tells the network what is given. Set backbone.given: true, or objective.levels_of: parts.");
}

}  // namespace thaw
