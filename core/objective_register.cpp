#include "core/few_step.h"
#include "core/objective.h"

namespace thaw {

const std::vector<Option>& parameterisation_options() {
  static const std::vector<Option> options{
      {"prediction", std::string("v"), "what the network predicts", 0, 0, prediction_names()},
      {"sigma_data", 0.5, "standard deviation of encoded data, for the edm prediction and weights", 1e-6, 1e6},
      {"conditioning", std::string("angle"), "the number the network is told for a noise level", 0, 0,
       conditioning_names()},
      {"condition_dropout", 0.1, "share of examples trained without their condition, for guidance", 0.0, 1.0}};
  return options;
}

void register_objectives(ObjectiveRegistry& registry) {
  registry.add({{"denoising",
                 "Mean squared error of the network's own output, weighted by noise level.",
                 "Ho et al. 2020, eq. 14; weightings as each names",
                 parameterisation_options(),
                 {}},
                [](const Settings& settings, const ObjectiveParts& parts, const Config& section) -> ObjectivePtr {
                  return std::make_shared<DenoisingObjective>(
                      parts.weightings.create(section.section("weighting"), "uniform"),
                      parts.level_samplers.create(section.section("levels"), "uniform"),
                      settings.number("condition_dropout"));
                },
                {"weighting", "levels"}});
  register_consistency_objectives(registry);
  register_flow_map_objectives(registry);
  register_halving_objectives(registry);
  register_reflow_objective(registry);
}

}  // namespace thaw
