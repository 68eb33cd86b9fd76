#pragma once
// What samples and networks are worth, by the metrics a configuration names; where a network that measures had a part
// in making the samples, that is said.

#include <nlohmann/json.hpp>

#include "core/metrics/metric.h"
#include "experiments/model_folder.h"

namespace thaw {

/// Refuses metrics that this experiment cannot have, with the reason: ConfigError at evaluate.metrics. Opens data.
void expect_measurable(const Experiment& experiment);

/// Whether the objective of the samples' training reads the model directory `network`, as a perceptual distance does:
/// figures of such a network are of what was trained for.
bool was_trained_with(const Experiment& experiment, const std::string& network);

/// A model directory of a classifier, called `named` in protocols.
TrainedClassifierPtr open_classifier(const Catalog& catalog, const std::string& path, const std::string& named);

/// {<figure>: value, "details": {<figure>: {low, high, n, protocol}}, "per_sample": {<name>: [...]}} and what else the
/// metrics tell, as "prompts".
nlohmann::json figures_json(const std::vector<Measured>& all);

/// Measures with the metrics, networks and reference data that an experiment names.
class Evaluator {
 public:
  /// Opens the networks and checks that they take the experiment's samples: ConfigError where one cannot.
  explicit Evaluator(const Experiment& experiment);

  /// figures_json of all metrics; one whose subject is not there tells nothing.
  nlohmann::json measure(const Subject& subject) const;

  /// Raw samples [n, ...] as the codec decodes, with the labels and captions asked for (may be empty).
  nlohmann::json measure(const at::Tensor& raw, const std::vector<std::int64_t>& labels,
                         const std::vector<std::string>& captions = {}) const {
    return measure({.raw = raw, .labels = labels, .captions = captions});
  }

  /// What stands beside the figures of n samples: ceilings, floors and noise, of data where the answer is known.
  nlohmann::json beside(std::int64_t n) const;

 private:
  std::vector<MetricPtr> metrics_;
};

/// Samples of an experiment; where they are told held-out examples, in pairs with those.
Subject subject_of(const Experiment& experiment, const at::Tensor& raw, const std::vector<std::int64_t>& labels,
                   const std::vector<std::string>& captions);

/// Share of held-out examples a classifier names rightly.
nlohmann::json measure_accuracy(const Experiment& experiment, const Model& model);

/// The peak signal-to-noise ratio of held-out examples through an autoencoder, in dB, with an interval; the number of
/// codes in use, where it has codes. Writes originals beside reconstructions into folder/reconstructions.png, and what the page
/// shows of them.
nlohmann::json measure_reconstruction(const Experiment& experiment, const Model& model,
                                      const std::filesystem::path& folder);

}  // namespace thaw
