#pragma once
// What a set of samples, or a network itself, is worth: components of the catalog, each declaring what it needs.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "core/base/registry.h"
#include "core/dataset.h"
#include "core/metrics/features.h"
#include "core/metrics/frechet.h"
#include "core/model.h"

namespace thaw {

/// A trained network that looks at data, with the codec that leads raw data into it.
struct TrainedClassifier {
  std::shared_ptr<const Model> model;
  CodecPtr codec;
  std::string path;   // of its model directory
  std::string named;  // as protocols name it

  /// Throws DataError where the model is no classifier.
  const Classifier& network() const;
  /// Of raw data [n, ...], float32 [n, classes] and [n, d] on the CPU; computed in parts.
  at::Tensor logits(const at::Tensor& raw_N) const;
  at::Tensor features(const at::Tensor& raw_N) const;
  /// int64 [n]: the class of each.
  at::Tensor classes(const at::Tensor& raw_N) const;
};
using TrainedClassifierPtr = std::shared_ptr<const TrainedClassifier>;

/// What metrics are made from. What an entry declares as needed is there; the rest may be null.
struct MetricParts {
  Config section;  // where messages point: evaluate
  CodecPtr codec{};
  DatasetPtr data{}, held_out{};
  DataSpec spec{};
  std::uint64_t seed = 0;
  TrainedClassifierPtr features{}, judge{};
};

/// What is measured. A metric reads the part that it declares.
struct Subject {
  at::Tensor raw{};                     // samples [n, ...], as the codec decodes
  std::vector<std::int64_t> labels{};   // asked for, one a sample; empty: none
  std::vector<std::string> captions{};  // the same
  at::Tensor encoded{}, originals{};    // pairs by index [n, ...], in the codec's range [-1, 1]
  at::Tensor original_raw{};     // what pairs are made from, raw [n, ...]; undefined: `originals`, decoded, are that
  at::Tensor made{};             // bool [n, K]: which of a pair's K pictures were made, not given; undefined: all
  const Model* model = nullptr;  // a network that is measured itself
};

/// One result of a metric. `low`, `high`: its 95 % interval.
struct Figure {
  std::string name;
  double value = 0.0;
  Interval interval{};
  std::int64_t n = 0;
  std::string protocol;
};

/// `per_sample` holds numbers or lists of numbers by the name of what they are, one entry a sample, for plots; `more`
/// is merged into metrics.json; there `by_place` holds means along the
/// samples: {figure: {"axis": what a place is, "samples": [...], "ceiling": [...]}}.
struct Measured {
  std::vector<Figure> figures{};
  nlohmann::json per_sample = nlohmann::json::object();
  nlohmann::json more = nlohmann::json::object();
};

class Metric {
 public:
  virtual ~Metric() = default;
  /// Nothing where the subject lacks what is measured (samples that were asked for no class have no agreement).
  virtual Measured measure(const Subject& subject) const = 0;
  /// What stands beside the figures, merged into what `measure` gave as metrics.json has it: the same measure where the
  /// answer is known, as <figure>_ceiling, _floor or _noise. Of n samples.
  virtual nlohmann::json beside(std::int64_t /*n*/) const { return nlohmann::json::object(); }
};
using MetricPtr = std::shared_ptr<const Metric>;

/// Traits of an entry say what it measures: one or more of
///   of_samples, of_classifier, of_autoencoder, of_pairs (samples and the held-out examples they were told)
/// and what it needs, which is refused with the reason where it is not there:
///   needs_classes    samples are asked for by their class
///   needs_captions   the dataset can hold samples against their captions
///   needs_held_out   the dataset has a split "test"
///   needs_features   evaluate.features, a network whose features are compared
///   needs_judge      evaluate.judge, a classifier that says what samples show
/// An option "network" names a file that the metric reads: a finished stage is done again when it has changed.
using MetricRegistry = Registry<MetricPtr, const MetricParts&>;

/// Metrics of every kind of data: frechet, class_agreement, prompt_obeyed, accuracy, nearest_training, psnr, ssim.
void register_metrics(MetricRegistry& registry);
void register_nearest_training(MetricRegistry& registry);

/// A share with its 95 % Wilson interval.
Figure share_figure(const std::string& name, std::int64_t successes, std::int64_t n, const std::string& protocol);

/// The mean of values [n] with its 95 % normal interval.
Figure mean_figure(const std::string& name, const at::Tensor& values_N, const std::string& protocol);

/// n examples that stand for the whole set (see spread_examples), stacked.
Batch examples(const Dataset& dataset, std::int64_t n);

/// Refuses a network that does not take, through its own codec, what raw samples of this shape are. `key`: the one of
/// section evaluate that names the network.
void expect_takes(const MetricParts& parts, const TrainedClassifier& network, const char* key,
                  const std::vector<std::int64_t>& raw_shape);
/// The same for another number of classes than the judge knows.
void expect_knows(const MetricParts& parts, std::int64_t classes);

}  // namespace thaw
