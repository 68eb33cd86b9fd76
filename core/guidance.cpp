#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "core/denoiser.h"
#include "core/kernels/weighted_sum.h"
#include "core/lanes.h"

namespace thaw {

double noise_fraction(const Level& level) {
  return std::atan2(level.sigma, level.alpha) * 2 / std::numbers::pi;
}

namespace {

using Weights = std::vector<std::pair<Branch, double>>;

double weight_of(const Weights& weights, Branch branch) {
  for (const auto& [known, weight] : weights)
    if (known == branch) return weight;
  return 0.0;
}

Outputs ask_guided(const Denoiser& denoiser, const Weights& weights, const Latent& x, Query asked) {
  asked.branches.clear();
  for (const auto& [branch, weight] : weights) asked.branches.push_back(branch);
  const bool has_null =
      std::find(asked.branches.begin(), asked.branches.end(), Branch::kUnconditional) != asked.branches.end();
  if (asked.wanted.unguided && !has_null) asked.branches.push_back(Branch::kUnconditional);
  const Outputs outputs = denoiser(x, asked);
  std::vector<double> factors;
  for (const Branch branch : asked.branches) factors.push_back(weight_of(weights, branch));
  Estimate guided = outputs.front();
  if (guided.affine) {
    guided.affine = Affine{};
    for (std::size_t b = 0; b < outputs.size(); ++b) {
      guided.affine->skip += factors[b] * outputs[b].affine->skip;
      for (auto& [weight, output] : outputs[b].affine->parts)
        guided.affine->parts.emplace_back(factors[b] * weight, output);
    }
  } else if (factors.front() != 1.0 || outputs.size() > 1)
    for (std::size_t s = 0; s < guided.data.streams.size(); ++s) {
      std::vector<const at::Tensor*> parts;
      std::vector<double> used;
      for (std::size_t b = 0; b < outputs.size(); ++b)
        if (factors[b] != 0.0) {
          parts.push_back(&outputs[b].data.streams[s].second);
          used.push_back(factors[b]);
        }
      at::Tensor sum;
      weighted_sum_into(sum, parts, used);
      guided.data.streams[s].second = sum;
    }
  if (asked.wanted.unguided)
    for (std::size_t b = 0; b < outputs.size(); ++b)
      if (asked.branches[b] == Branch::kUnconditional) guided.unguided = outputs[b].data;
  return {guided};
}

}  // namespace

Denoiser with_guidance(Denoiser denoiser, Guidance guidance) {
  return [denoiser = std::move(denoiser), guidance = std::move(guidance)](const Latent& x, const Query& query) {
    if (query.lanes.empty()) return ask_guided(denoiser, guidance(query.at), x, query);
    const Weights first = guidance(query.lanes.front());
    bool is_same = true;
    for (const Level& level : query.lanes) is_same = is_same && guidance(level) == first;
    if (is_same) return ask_guided(denoiser, first, x, query);
    return ask_by_lane(
        [&](const Latent& part, const Query& one) { return ask_guided(denoiser, guidance(one.at), part, one); }, x,
        query);
  };
}

void register_guidance(GuidanceRegistry& registry) {
  registry.add({{"none", "The conditional prediction alone.", "", {}, {}}, [](const Settings&) -> Guidance {
                  return [](const Level&) {
                    return std::vector<std::pair<Branch, double>>{{Branch::kConditional, 1.0}};
                  };
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
