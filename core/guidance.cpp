#include "core/guidance.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/guidance_parts.h"
#include "core/kernels/weighted_sum.h"
#include "core/lanes.h"

namespace thaw {

void expect_one_level(const Query& query) {
  if (query.parts.empty()) return;
  throw ConfigError(
      "guidance: this one looks at one noise level a sample, and here parts of a sample have levels of their own. Use "
      "\"none\" or \"cfg\".");
}

double noise_fraction(const Level& level) {
  return std::atan2(level.sigma, level.alpha) * 2 / std::numbers::pi;
}

namespace {

double weight_of(const BranchWeights& weights, Branch branch) {
  for (const auto& [known, weight] : weights)
    if (known == branch) return weight;
  return 0.0;
}

bool is_null(Branch branch) {
  return branch == Branch::kUnconditional || branch == Branch::kNegative;
}

// The branch that "unguided" stands for: the one guided against, else the null one, evaluated for this.
std::size_t unguided_branch(std::vector<Branch>& branches) {
  const auto found = std::find_if(branches.begin(), branches.end(), is_null);
  const auto index = static_cast<std::size_t>(found - branches.begin());
  if (found == branches.end()) branches.push_back(Branch::kUnconditional);
  return index;
}

Affine sum_of(const Outputs& outputs, const std::vector<double>& factors) {
  Affine sum;
  for (std::size_t b = 0; b < outputs.size(); ++b) {
    sum.skip += factors[b] * outputs[b].affine->skip;
    for (const auto& [weight, output] : outputs[b].affine->parts) sum.parts.emplace_back(factors[b] * weight, output);
  }
  return sum;
}

Outputs ask_weighted(const Denoiser& denoiser, const BranchWeights& weights, const Latent& x, Query asked) {
  asked.branches.clear();
  for (const auto& [branch, weight] : weights) asked.branches.push_back(branch);
  std::size_t unguided = 0;
  if (asked.wanted.unguided) unguided = unguided_branch(asked.branches);
  const Outputs outputs = denoiser(x, asked);
  std::vector<double> factors;
  for (const Branch branch : asked.branches) factors.push_back(weight_of(weights, branch));
  Estimate guided = outputs.front();
  if (guided.affine) {
    guided.affine = sum_of(outputs, factors);
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
  if (asked.wanted.unguided) guided.unguided = outputs[unguided].data;
  return {guided};
}

// Once for each of the weights that parts have; every part takes the answer under its own.
Outputs ask_parts(const Denoiser& denoiser, const std::function<BranchWeights(const Level&)>& weights, const Latent& x,
                  const Query& query) {
  std::vector<BranchWeights> kinds;
  std::vector<double> kind_of;
  for (const Level& level : query.parts) {
    kind_of.push_back(0.0);
    if (level.is_clean()) continue;  // its estimate is itself, whatever a network says: any answer will do
    const BranchWeights own = weights(level);
    auto found = std::find(kinds.begin(), kinds.end(), own);
    if (found == kinds.end()) found = kinds.insert(kinds.end(), own);
    kind_of.back() = static_cast<double>(found - kinds.begin());
  }
  if (kinds.empty()) kinds.push_back(weights(query.parts.front()));
  Query asked = query;
  asked.wanted.affine = asked.wanted.affine && kinds.size() == 1;
  Outputs result = ask_weighted(denoiser, kinds.front(), x, asked);
  for (std::size_t k = 1; k < kinds.size(); ++k) {
    const Outputs other = ask_weighted(denoiser, kinds[k], x, asked);
    const at::Tensor takes = per_sample(kind_of, x.main()) == static_cast<double>(k);
    const auto take = [&](Latent& own, const Latent& from) {
      for (std::size_t s = 0; s < own.streams.size(); ++s)
        own.streams[s].second = at::where(takes, from.streams[s].second, own.streams[s].second);
    };
    take(result.front().data, other.front().data);
    for (const auto member : {&Estimate::unguided, &Estimate::variance})
      if (result.front().*member) take(*(result.front().*member), *(other.front().*member));
  }
  return result;
}

// The query of a guidance's own branches, told what the asker wants.
Query own_query(const Query& query, const Query& asked) {
  Query own = query;
  if (asked.negative) own.negative = asked.negative;
  if (asked.perturbed.kind != Perturbation::Kind::kNone) own.perturbed = asked.perturbed;
  return own;
}

Outputs ask_combined(const Denoiser& denoiser, const Combination& combination, const Latent& x, const Query& query) {
  const std::vector<Level> levels = query.lanes.empty() ? std::vector<Level>{query.at} : query.lanes;
  Query asked = query;
  asked.branches = combination.branches(levels.front());
  if (asked.branches.size() == 1) {
    const BranchWeights alone{{asked.branches.front(), 1.0}};
    return ask_weighted(denoiser, alone, x, asked);
  }
  asked.wanted.affine = false;
  std::size_t unguided = 0;
  const std::size_t used = asked.branches.size();
  if (asked.wanted.unguided) unguided = unguided_branch(asked.branches);
  const Outputs outputs = denoiser(x, asked);
  Estimate guided = outputs.front();
  for (std::size_t s = 0; s < x.streams.size(); ++s) {
    std::vector<at::Tensor> lanes;
    for (std::size_t k = 0; k < levels.size(); ++k) {
      std::vector<at::Tensor> answers;
      for (std::size_t b = 0; b < used; ++b)
        answers.push_back(lane_of(outputs[b].data, k, levels.size()).streams[s].second);
      const at::Tensor own = lane_of(x, k, levels.size()).streams[s].second;
      lanes.push_back(combination.combine(levels[k], own, answers, s));
    }
    guided.data.streams[s].second = lanes.size() == 1 ? lanes.front() : at::cat(lanes, 0);
  }
  if (query.wanted.unguided) guided.unguided = outputs[unguided].data;
  return {guided};
}

}  // namespace

Denoiser with_guidance(Denoiser denoiser, const Guidance& guidance, const GuidedRun& run) {
  return guidance(std::move(denoiser), run);
}

BranchWeights classifier_free_weights(double scale, Branch against) {
  if (scale == 1.0) return {{Branch::kConditional, 1.0}};
  return {{Branch::kConditional, scale}, {against, 1.0 - scale}};
}

Guidance weighted_branches(std::function<BranchWeights(const Level&)> weights, Query asked) {
  return [=](Denoiser denoiser, const GuidedRun&) -> Denoiser {
    return [=, denoiser = std::move(denoiser)](const Latent& x, const Query& query) {
      const Query own = own_query(query, asked);
      if (!query.parts.empty()) return ask_parts(denoiser, weights, x, own);
      if (query.lanes.empty()) return ask_weighted(denoiser, weights(query.at), x, own);
      const BranchWeights first = weights(query.lanes.front());
      const bool is_same = std::all_of(query.lanes.begin(), query.lanes.end(),
                                       [&](const Level& level) { return weights(level) == first; });
      if (is_same) return ask_weighted(denoiser, first, x, own);
      return ask_by_lane(
          [&](const Latent& part, const Query& one) { return ask_weighted(denoiser, weights(one.at), part, one); }, x,
          own);
    };
  };
}

Denoiser combined_branches(Denoiser denoiser, Combination combination, Query asked) {
  return [=, denoiser = std::move(denoiser), combination = std::move(combination)](const Latent& x,
                                                                                   const Query& query) {
    expect_one_level(query);
    const Query own = own_query(query, asked);
    if (combination.begin) combination.begin(query.lanes.empty() ? std::vector<Level>{query.at} : query.lanes);
    bool is_same = true;
    for (const Level& level : query.lanes)
      is_same = is_same && combination.branches(level) == combination.branches(query.lanes.front());
    if (is_same) return ask_combined(denoiser, combination, x, own);
    return ask_by_lane(
        [&](const Latent& part, const Query& one) { return ask_combined(denoiser, combination, part, one); }, x, own);
  };
}

void register_guidance(GuidanceRegistry& registry) {
  registry.add({{"none", "The conditional prediction alone.", "", {}, {}},
                [](const Settings&, const GuidanceParts&, const Config&) -> Guidance {
                  return weighted_branches([](const Level&) { return classifier_free_weights(1.0); });
                }});
  register_branch_guidance(registry);
  register_perturbed_guidance(registry);
  register_model_guidance(registry);
  register_measurement_guidance(registry);
}

}  // namespace thaw
