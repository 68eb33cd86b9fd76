#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "core/denoiser.h"

namespace thaw {

double noise_fraction(const Level& level) { return std::atan2(level.sigma, level.alpha) * 2 / std::numbers::pi; }

Denoiser with_guidance(Denoiser denoiser, Guidance guidance) {
  return [denoiser = std::move(denoiser), guidance = std::move(guidance)](const Latent& x, const Query& query) {
    const auto weights = guidance(query.at);
    Query asked = query;
    asked.branches.clear();
    for (const auto& [branch, weight] : weights) asked.branches.push_back(branch);
    Outputs outputs = denoiser(x, asked);
    Latent guided = outputs.front();
    for (std::size_t s = 0; s < guided.streams.size(); ++s) {
      at::Tensor sum = outputs[0].streams[s].second * weights[0].second;
      for (std::size_t b = 1; b < outputs.size(); ++b) sum.add_(outputs[b].streams[s].second, weights[b].second);
      guided.streams[s].second = sum;
    }
    return Outputs{guided};
  };
}

void register_guidance(GuidanceRegistry& registry) {
  registry.add({{"none", "The conditional prediction alone.", "", {}, {}},
                [](const Settings&) -> Guidance {
                  return [](const Level&) { return std::vector<std::pair<Branch, double>>{{Branch::kConditional, 1.0}}; };
                }});
  registry.add(
      {{"cfg",
        "Classifier-free guidance: scale times the conditional minus (scale - 1) times the unconditional prediction.",
        "Ho and Salimans 2022; interval: Kynkaanniemi et al. 2024",
        {{"scale", 3.0, "1 is no guidance", 0.0, 100.0},
         {"interval", std::vector<double>{0.0, 1.0}, "noise fractions (0 clean, 1 noise) between which it acts", 0.0,
          1.0}},
        {"needs_condition"}},
       [](const Settings& settings) -> Guidance {
         const double scale = settings.number("scale");
         const std::vector<double> interval = settings.numbers("interval");
         if (interval.size() != 2 || interval[0] >= interval[1])
           settings.fail("interval", "expected [from, to] with from < to.");
         return [=](const Level& level) {
           const double fraction = noise_fraction(level);
           if (scale == 1.0 || fraction < interval[0] || fraction > interval[1])
             return std::vector<std::pair<Branch, double>>{{Branch::kConditional, 1.0}};
           return std::vector<std::pair<Branch, double>>{{Branch::kConditional, scale},
                                                         {Branch::kUnconditional, 1.0 - scale}};
         };
       }});
}

}  // namespace thaw
