#include "core/base/text.h"
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

namespace {

std::vector<Option> denoising_options() {
  std::vector<Option> options = parameterisation_options();
  const std::vector<Option> own{
      {"offset_noise", 0.0, "deviation of a normal added to all of a channel's noise (Guttenberg 2023)", 0.0, 10.0},
      {"input_perturbation", 0.0, "deviation of noise in the input that the target does not know (Ning et al. 2023)",
       0.0, 10.0},
      {"distance",
       std::string("squared"),
       "how an error counts; all are its square where it is small",
       0,
       0,
       {"squared", "huber", "pseudo_huber"}},
      {"huber", 1.0, "error from which huber and pseudo_huber grow in proportion", 1e-6, 1e6},
      {"self_conditioning", 0.5, "share of steps that see an estimate, with backbone.self_conditioning", 0.0, 1.0},
      {"variance",
       std::string("fixed"),
       "learned: L_simple + vlb_weight L_vlb (Nichol and Dhariwal 2021, eq. 16)",
       0,
       0,
       {"fixed", "learned"}},
      {"vlb_weight", 1e-3, "of the bound, with variance: learned", 0.0, 1e3},
      {"bin", 2.0 / 255.0, "width of the bins of quantised data, for the bound's last step; 0: continuous data", 0.0,
       1e3},
      {"uncertainty",
       std::string("none"),
       "learned: loss / e^u + u, u(level) learned (Karras et al. 2024, eq. 14)",
       0,
       0,
       {"none", "learned"}},
      {"levels_of",
       std::string("samples"),
       "parts: each position of the first dimension behind the channels is at a level of its own (Chen et al. 2024)",
       0,
       0,
       {"samples", "parts"}}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

ObjectivePtr make_denoising(const Settings& settings, const ObjectiveParts& parts, const Config& section) {
  const std::string& distance = settings.text("distance");
  const bool learns_variance = settings.text("variance") == "learned";
  const bool is_apart = settings.text("levels_of") == "parts";
  if (is_apart && (learns_variance || settings.text("uncertainty") == "learned"))
    settings.fail("levels_of", "parts at levels of their own learn neither a variance nor an uncertainty.");
  const Config levels = section.section("levels");
  if (is_apart && parts.level_samplers.find(levels, "uniform").info.has_trait("importance"))
    settings.fail("levels_of",
                  concat("\"", levels.type(""), "\" learns from the losses of samples at one level each."));
  const DenoisingOptions options{.condition_dropout = settings.number("condition_dropout"),
                                 .offset_noise = settings.number("offset_noise"),
                                 .input_perturbation = settings.number("input_perturbation"),
                                 .distance = distance == "squared" ? Distance::kSquared
                                             : distance == "huber" ? Distance::kHuber
                                                                   : Distance::kPseudoHuber,
                                 .huber = settings.number("huber"),
                                 .self_conditioning = settings.number("self_conditioning"),
                                 .learns_variance = learns_variance,
                                 .vlb_weight = settings.number("vlb_weight"),
                                 .bin = settings.number("bin"),
                                 .learns_uncertainty = settings.text("uncertainty") == "learned",
                                 .is_apart = is_apart};
  return std::make_shared<DenoisingObjective>(
      parts.weightings.create(section.section("weighting"), "uniform"),
      parts.level_samplers.create(levels, learns_variance ? "timesteps" : "uniform"), options);
}

}  // namespace

void register_objectives(ObjectiveRegistry& registry) {
  registry.add({{"denoising",
                 "Mean squared error of the network's own output, weighted by noise level.",
                 "Ho et al. 2020, eq. 14; weightings and extras as each names",
                 denoising_options(),
                 {"importance"}},
                make_denoising,
                {"weighting", "levels"}});
  register_consistency_objectives(registry);
  register_flow_map_objectives(registry);
  register_halving_objectives(registry);
  register_reflow_objective(registry);
  register_direct_distillation(registry);
  register_autoencoding_objective(registry);
  register_classification_objective(registry);
}

}  // namespace thaw
