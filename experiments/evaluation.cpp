#include "experiments/evaluation.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/autoencoder.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "experiments/inputs.h"
#include "experiments/pipeline.h"
#include "experiments/sampling.h"

namespace thaw {

namespace {

constexpr std::int64_t kBatch = 500;

const char* subject_trait(const Experiment& experiment) {
  return experiment.is_classifier() ? "of_classifier" : experiment.is_autoencoder() ? "of_autoencoder" : "of_samples";
}

// Why a metric of something else does not go with this experiment, and which do.
std::string mismatch(const Experiment& experiment, const EntryInfo& metric) {
  static const std::map<std::string, std::string> kNames{
      {"of_autoencoder", "an autoencoder"},
      {"of_classifier", "a classifier"},
      {"of_pairs", "samples of a network that is told held-out examples"},
      {"of_samples", "samples"}};
  std::vector<std::string> measured, fitting;
  for (const auto& [trait, name] : kNames)
    if (metric.has_trait(trait)) measured.push_back(name);
  const std::string own = subject_trait(experiment);
  for (const auto& entry : experiment.catalog().metrics.entries())
    if (entry.info.has_trait(own)) fitting.push_back(entry.info.name);
  const std::string network = experiment.is_denoiser() ? "a denoiser" : kNames.at(own);
  return concat(metric.name, " measures ", join(measured, " or "), ", and ",
                metric.has_trait("of_samples") ? network + " gives none" : "this network is " + network, ". Use ",
                join(fitting, ", "), ".");
}

// The first thing that a metric needs and the experiment lacks; empty where all is there.
std::string lacking(const Experiment& experiment, const EntryInfo& metric) {
  const std::string dataset = experiment.config().section("dataset").type("mnist");
  const bool goes_with_pairs = metric.has_trait("of_pairs") && samples_are_paired(experiment);
  if (!metric.has_trait(subject_trait(experiment)) && !goes_with_pairs) return mismatch(experiment, metric);
  if (metric.has_trait("needs_classes") && experiment.data_spec().num_classes == 0)
    return concat(metric.name, " needs classes, and the data has none.");
  if (metric.has_trait("needs_held_out") && !experiment.held_out())
    return concat(metric.name, " needs held-out examples, and dataset \"", dataset, "\" has no test split.");
  if (metric.has_trait("needs_captions") && !experiment.held_out()->prompt_checker())
    return concat(metric.name, " needs captions that can be checked, and dataset \"", dataset, "\" has none.");
  return "";
}

std::string named_network(const Experiment& experiment, const std::string& network) {
  return was_trained_with(experiment, network) ? network + " (which the training used)" : network;
}

TrainedClassifierPtr own_classifier(const Experiment& experiment, const std::string& path) {
  return open_classifier(experiment.catalog(), path, named_network(experiment, path));
}

bool any_needs(const Experiment& experiment, const char* trait) {
  return std::ranges::any_of(experiment.evaluate().metrics,
                             [&](const std::string& text) { return experiment.metric_info(text).has_trait(trait); });
}

MetricParts parts_of(const Experiment& experiment) {
  MetricParts parts{experiment.config().section("evaluate"), experiment.codec()};
  parts.spec = experiment.data_spec();
  parts.spec.shape = sampled_shape(experiment);
  parts.seed = experiment.seed();
  if (any_needs(experiment, "needs_held_out")) {
    parts.data = experiment.dataset();
    parts.held_out = experiment.held_out();
  }
  if (any_needs(experiment, "needs_features"))
    parts.features = own_classifier(experiment, experiment.evaluate().features);
  if (any_needs(experiment, "needs_judge")) parts.judge = own_classifier(experiment, experiment.evaluate().judge);
  return parts;
}

nlohmann::json json_of(const Figure& figure) {
  return {{"low", figure.interval.low}, {"high", figure.interval.high}, {"n", figure.n}, {"protocol", figure.protocol}};
}

}  // namespace

void expect_measurable(const Experiment& experiment) {
  for (const std::string& text : experiment.evaluate().metrics)
    if (const std::string reason = lacking(experiment, experiment.metric_info(text)); !reason.empty())
      experiment.config().section("evaluate").fail("metrics", reason);
}

bool was_trained_with(const Experiment& experiment, const std::string& network) {
  const std::vector<std::filesystem::path> read = experiment.objective()->files();
  const std::vector<std::filesystem::path> own = model_files(network);
  return std::find_first_of(own.begin(), own.end(), read.begin(), read.end()) != own.end();
}

Evaluator::Evaluator(const Experiment& experiment) {
  expect_measurable(experiment);
  const MetricParts parts = parts_of(experiment);
  for (const std::string& text : experiment.evaluate().metrics) metrics_.push_back(experiment.metric(text, parts));
}

TrainedClassifierPtr open_classifier(const Catalog& catalog, const std::string& path, const std::string& named) {
  auto loaded = std::make_shared<LoadedModel>(open_model(path, catalog));
  return std::make_shared<TrainedClassifier>(TrainedClassifier{std::shared_ptr<const Model>(loaded, &loaded->model),
                                                               loaded->experiment->codec(), path, named});
}

nlohmann::json figures_json(const std::vector<Measured>& all) {
  nlohmann::json result{{"details", nlohmann::json::object()}};
  for (const Measured& measured : all) {
    for (const Figure& figure : measured.figures) {
      result[figure.name] = figure.value;
      result["details"][figure.name] = json_of(figure);
    }
    if (!measured.per_sample.empty()) result["per_sample"].update(measured.per_sample);
    result.update(measured.more, true);
  }
  return result;
}

nlohmann::json Evaluator::measure(const Subject& subject) const {
  std::vector<Measured> all;
  for (const MetricPtr& metric : metrics_) all.push_back(metric->measure(subject));
  return figures_json(all);
}

Subject subject_of(const Experiment& experiment, const at::Tensor& raw, const std::vector<std::int64_t>& labels,
                   const std::vector<std::string>& captions) {
  Subject subject{.raw = raw, .labels = labels, .captions = captions};
  if (samples_are_paired(experiment)) {
    subject.encoded = experiment.codec()->encode(raw);
    subject.originals = held_out_examples(experiment, raw.size(0));
  }
  // As the samples were asked for (plain_request): positions along clips are pictures.
  if (subject.encoded.defined() && subject.encoded.dim() == 5 && experiment.task()) {
    std::vector<std::uint64_t> samples(static_cast<std::size_t>(raw.size(0)));
    std::iota(samples.begin(), samples.end(), std::uint64_t{0});
    const at::Tensor mask = task_masks(*experiment.task(), experiment.data_spec().shape, experiment.seed(), samples);
    subject.made = mask.flatten(1).eq(0);
  }
  return subject;
}

nlohmann::json Evaluator::beside(std::int64_t n) const {
  nlohmann::json result = nlohmann::json::object();
  for (const MetricPtr& metric : metrics_) result.update(metric->beside(n), true);
  return result;
}

nlohmann::json measure_accuracy(const Experiment& experiment, const Model& model) {
  return Evaluator(experiment).measure({.model = &model});
}

nlohmann::json measure_reconstruction(const Experiment& experiment, const Model& model,
                                      const std::filesystem::path& folder) {
  constexpr std::int64_t kShown = 20;
  const Evaluator evaluator(experiment);
  const DatasetPtr data = experiment.held_out();
  if (!data) throw DataError("evaluate: an autoencoder is measured on a test split, and the dataset has none.");
  const c10::NoGradGuard no_grad;
  const auto& network = dynamic_cast<const AutoencoderNetwork&>(*model.backbone);
  const Codec& codec = *experiment.codec();
  const at::Tensor raw = examples(*data, experiment.evaluate().n).data;
  const at::Tensor x = codec.encode(raw);
  std::vector<at::Tensor> back_parts, index_parts;
  for (std::int64_t first = 0; first < x.size(0); first += kBatch) {
    const at::Tensor mean =
        network.encode(x.narrow(0, first, std::min(kBatch, x.size(0) - first)).to(model.device)).mean;
    back_parts.push_back(network.decode(mean).to(at::kCPU));
    if (network.codes().defined()) index_parts.push_back(quantised(mean, network.codes(), 0.0).index.to(at::kCPU));
  }
  const at::Tensor back = at::cat(back_parts);
  const std::int64_t shown = std::min(kShown, raw.size(0));
  const at::Tensor original_raw = raw.narrow(0, 0, shown), back_raw = codec.decode(back.narrow(0, 0, shown));
  make_folder(folder);
  write_file(folder / "reconstructions.png", codec.sheet_png(at::stack({original_raw, back_raw}, 1).flatten(0, 1), 10));
  write_reconstructions(codec, original_raw, back_raw, folder);
  nlohmann::json result = evaluator.measure({.encoded = back, .originals = x});
  result.update(evaluator.beside(raw.size(0)), true);
  result["n"] = raw.size(0);
  if (!index_parts.empty()) result["codes_used"] = std::get<0>(at::_unique2(at::cat(index_parts))).numel();
  return result;
}

}  // namespace thaw
