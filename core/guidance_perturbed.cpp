// Guidance away from the same network made weaker: attention without looking around, or layers left out.

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/guidance_parts.h"

namespace thaw {

namespace {

// The layers named, or the middle one.
Perturbation perturbation_for(const Settings& settings, Perturbation::Kind kind, const GuidedRun& run) {
  Perturbation perturbation{kind, settings.integers("layers")};
  if (run.model == nullptr) return perturbation;
  const std::int64_t count = run.model->backbone->attention_layers();
  if (count == 0)
    settings.fail("type", "this network has no attention layers that can be perturbed. Use cfg or autoguidance.");
  if (perturbation.layers.empty()) perturbation.layers.push_back(count / 2);
  for (const std::int64_t layer : perturbation.layers)
    if (layer < 0 || layer >= count)
      settings.fail("layers", concat("this network has the layers 0 to ", count - 1, ", got ", layer, "."));
  return perturbation;
}

template <Perturbation::Kind kind>
Guidance make_perturbed(const Settings& settings, const GuidanceParts&, const Config&) {
  const Strength strength = read_strength(settings, 0.0);
  const double cfg = settings.number("cfg");
  return [=](Denoiser denoiser, const GuidedRun& run) {
    if (cfg != 1.0) expect_condition(run, "cfg");
    const Perturbation perturbation = perturbation_for(settings, kind, run);
    const auto weights = [=](const Level& level) {
      BranchWeights parts = classifier_free_weights(cfg);
      const double scale = strength.at(level);
      if (scale == 0.0) return parts;
      parts.front().second += scale;
      parts.emplace_back(Branch::kPerturbed, -scale);
      return parts;
    };
    return weighted_branches(weights, {.at = {}, .perturbed = perturbation})(std::move(denoiser), run);
  };
}

std::vector<Option> perturbed_options() {
  std::vector<Option> options = strength_options(2.0, "weight of the estimate against the perturbed one", 0.0);
  options.push_back({"cfg", 1.0, "scale of classifier-free guidance beside it; 1: none", 0.0, 1000.0});
  options.push_back({"layers", std::vector<double>{}, "counted from the input; empty: the middle one", 0, 4096});
  return options;
}

}  // namespace

void register_perturbed_guidance(GuidanceRegistry& registry) {
  registry.add({{"perturbed_attention",
                 "Away from the network whose attention maps are the identity.",
                 "Ahn et al. 2024 (PAG), eq. 12, 16",
                 perturbed_options(),
                 {"needs_attention"}},
                make_perturbed<Perturbation::Kind::kIdentityAttention>});
  registry.add({{"skip_layer",
                 "Away from the network with layers left out.",
                 "Hyung et al. 2024 (STG), eq. 9; Stability AI 2024, SD 3.5 skip-layer guidance",
                 perturbed_options(),
                 {"needs_attention"}},
                make_perturbed<Perturbation::Kind::kSkippedLayer>});
}

}  // namespace thaw
