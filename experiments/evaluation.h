#pragma once
// What samples are worth, measured by networks; where one had a part in making them, that is said.

#include <nlohmann/json.hpp>

#include "experiments/model_folder.h"

namespace thaw {

/// Refuses metrics that this experiment cannot have, with the reason: ConfigError at evaluate.metrics. Opens data.
void expect_measurable(const Experiment& experiment);

/// Whether the objective of the samples' training reads the model directory `network`, as a perceptual distance does:
/// figures of such a network are of what was trained for.
bool was_trained_with(const Experiment& experiment, const std::string& network);

/// Measures raw samples with the networks and reference data an experiment names.
class Evaluator {
 public:
  /// Opens the networks and checks that they take the experiment's samples: ConfigError where one cannot.
  explicit Evaluator(const Experiment& experiment);

  /// raw [n, ...] as the codec decodes, labels and captions asked for (may be empty). {"class_agreement": ..,
  /// "frechet": .., "prompt_obeyed": .., "prompts": as measure_prompts tells, "details": {name: {low, high, n,
  /// protocol}}}, as far as the experiment asks for them.
  nlohmann::json measure(const at::Tensor& raw, const std::vector<std::int64_t>& labels,
                         const std::vector<std::string>& captions = {});

  /// The Frechet distance of n real training examples, and of n samples of noise, to the same reference.
  double frechet_floor(std::int64_t n);
  double frechet_noise(std::int64_t n);

  /// What measure_prompts tells of the first n held-out examples and their own captions: as well as the judge reads.
  nlohmann::json real_prompts(std::int64_t n);

 private:
  bool wants(const std::string& metric) const;
  void open_judge();
  at::Tensor features(const at::Tensor& raw);
  const at::Tensor& reference();
  void add_class_agreement(nlohmann::json& result, const at::Tensor& raw, const std::vector<std::int64_t>& labels);
  void add_prompts(nlohmann::json& result, const at::Tensor& raw, const std::vector<std::string>& captions);
  Naming naming() const;

  const Experiment& experiment_;
  std::optional<LoadedModel> features_, judge_;
  at::Tensor reference_;
};

/// Share of held-out examples a classifier names rightly.
nlohmann::json measure_accuracy(const Experiment& experiment, const Model& model);

/// The peak signal-to-noise ratio of held-out examples through an autoencoder, in dB, with an interval; the number of
/// codes in use, where it has codes. Writes originals beside reconstructions into folder/reconstructions.png.
nlohmann::json measure_reconstruction(const Experiment& experiment, const Model& model,
                                      const std::filesystem::path& folder);

/// The raw examples [first, first + n) of a dataset, stacked.
Batch examples(const Dataset& dataset, std::int64_t n);

}  // namespace thaw
