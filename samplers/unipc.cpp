#include "samplers/exponential.h"

namespace thaw {
namespace {

// UniP-p solves for weights that are exact on p nodes, except p = 2, where rho_1 = 1/2 and B(h) stays in: the midpoint
// rule for B = e^h - 1 (bh2), the linear one for B = h (bh1). UniC-p has p + 1 nodes.
Solver make_unipc(const Settings& settings) {
  const int order = static_cast<int>(settings.integer("order"));
  ExponentialMultistep method{
      .interpolated = settings.text("prediction") == "noise" ? Interpolated::kNoise : Interpolated::kData,
      .predictor = read_order_rule(settings, order),
      .corrector = settings.flag("corrector") ? order + 1 : 0,
      .rule = {.slope = settings.text("variant") == "bh1" ? SlopeRule::kLinear : SlopeRule::kMidpoint},
      .uncorrected = settings.integers("disable_corrector")};
  return exponential_solver(std::move(method));
}

}  // namespace

void register_sampler_unipc(SamplerRegistry& registry) {
  registry.add(
      {{.name = "unipc",
        .summary = "multistep predictor, and a corrector that reuses the next prediction; order + 1 in all",
        .source = "Zhao et al. 2023 (UniPC), algorithms 5 to 8",
        .options = with_order_options(
            {order_option(2, 3),
             Option{.name = "variant",
                    .fallback = std::string("bh2"),
                    .help = "B(h) of the steps with two nodes: bh1 = h, bh2 = e^h - 1",
                    .choices = {"bh1", "bh2"}},
             Option{.name = "prediction",
                    .fallback = std::string("data"),
                    .help = "what is interpolated",
                    .choices = {"data", "noise"}},
             {"corrector", true, "false: UniP, the predictor alone"},
             {"disable_corrector", std::vector<double>{}, "steps (from 0) whose end is not corrected", 0.0, 1e5}}),
        .traits = {"evaluations_per_step=1", "order=3"}},
       make_unipc});
}

}  // namespace thaw
