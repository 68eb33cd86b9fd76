#pragma once
// Guidance: functions around a denoiser, made anew for each trajectory, free to combine with every solver.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/denoiser.h"
#include "core/measurement.h"
#include "core/model.h"

namespace thaw {

/// What a guidance may know of the samples it is about to guide: one micro-batch.
struct GuidedRun {
  const Model* model = nullptr;  // whose denoiser is guided; it is asked on its own path
  Condition condition{};         // of the samples
  std::int64_t first = 0;        // number of the first one, for what is given once a sample (measurements)
  std::int64_t count = 0;
};

/// Wraps a denoiser for one trajectory: whatever it remembers (momentum) lives in what it returns.
///
/// It answers queries for the one branch kConditional, with lanes or without. Throws ConfigError for a model or a
/// condition that it cannot guide.
using Guidance = std::function<Denoiser(Denoiser, const GuidedRun&)>;

/// Opens a second model: a model directory, a run folder, or with `step` > 0 the averaged weights of a checkpoint of
/// that run. The model must outlive the pointer's copies only.
using SecondModelOpener = std::function<std::shared_ptr<const Model>(const std::string& path, std::int64_t step)>;

struct GuidanceParts;
using GuidanceRegistry = Registry<Guidance, const GuidanceParts&, const Config&>;

/// What entries are made with beside their settings.
struct GuidanceParts {
  const GuidanceRegistry& guidance;  // of what is guided further: `around`
  const MeasurementRegistry& measurements;
  SecondModelOpener open_model{};
};

void register_guidance(GuidanceRegistry& registry);

/// Same as guidance(denoiser, run).
Denoiser with_guidance(Denoiser denoiser, const Guidance& guidance, const GuidedRun& run = {});

/// Weights of the branches at a level; they sum to 1. An absent branch is not evaluated.
using BranchWeights = std::vector<std::pair<Branch, double>>;

/// Answers every query with the weighted sum of branches, in one query of the denoiser. Lanes whose weights differ are
/// asked one by one. `asked` is what to ask with: the negative condition, the perturbation.
Guidance weighted_branches(std::function<BranchWeights(const Level&)> weights, Query asked = {});

/// Weights of a model's own condition (scale) against the null one (1 - scale).
BranchWeights classifier_free_weights(double scale, Branch against = Branch::kUnconditional);

}  // namespace thaw
