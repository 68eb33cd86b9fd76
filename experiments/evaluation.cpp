#include "experiments/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/autoencoder.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/math/philox.h"
#include "core/metrics/features.h"
#include "core/metrics/frechet.h"
#include "experiments/inputs.h"
#include "experiments/obedience.h"

namespace thaw {

namespace {

constexpr std::int64_t kBatch = 500;

const Classifier& classifier_of(const Model& model, const std::string& path) {
  const auto* classifier = dynamic_cast<const Classifier*>(model.backbone.get());
  if (classifier == nullptr) throw DataError(concat(path, ": is not a classifier."));
  return *classifier;
}

// A function of encoded parts, over raw data, joined.
template <class Function>
at::Tensor in_parts(const at::Tensor& raw, const Codec& codec, const Model& model, const Function& function) {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < raw.size(0); first += kBatch) {
    const at::Tensor part = raw.narrow(0, first, std::min(kBatch, raw.size(0) - first));
    parts.push_back(function(codec.encode(part).to(model.device)).to(at::kCPU));
  }
  return at::cat(parts);
}

nlohmann::json proportion(std::int64_t successes, std::int64_t n, const std::string& protocol) {
  const Interval interval = proportion_interval(successes, n);
  return {{"low", interval.low}, {"high", interval.high}, {"n", n}, {"protocol", protocol}};
}

}  // namespace

Batch examples(const Dataset& dataset, std::int64_t n) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(std::min(n, dataset.size())));
  std::iota(indices.begin(), indices.end(), 0);
  return gather(dataset, indices);
}

void expect_measurable(const Experiment& experiment) {
  const Config section = experiment.config().section("evaluate");
  for (const std::string& metric : experiment.evaluate().metrics) {
    if (experiment.is_classifier() && metric != "accuracy")
      section.fail("metrics", concat(metric, " measures samples, and a classifier gives none. Use accuracy."));
    if (experiment.is_autoencoder() != (metric == "psnr"))
      section.fail("metrics", "psnr measures an autoencoder, and nothing else does.");
    if (experiment.is_denoiser() && metric == "accuracy")
      section.fail("metrics",
                   "accuracy measures a classifier, and this network is a denoiser. Use class_agreement or "
                   "frechet.");
    if (metric == "class_agreement" && experiment.data_spec().num_classes == 0)
      section.fail("metrics", "class_agreement needs classes, and the data has none.");
    if (metric != "class_agreement" && !experiment.held_out())
      section.fail("metrics", concat(metric, " needs held-out examples, and dataset \"",
                                     experiment.config().section("dataset").type("mnist"), "\" has no test split."));
    if (metric == "prompt_obeyed" && !experiment.held_out()->prompt_checker())
      section.fail("metrics", concat("prompt_obeyed needs captions that can be checked, and dataset \"",
                                     experiment.config().section("dataset").type("mnist"), "\" has none."));
  }
}

bool was_trained_with(const Experiment& experiment, const std::string& network) {
  const std::vector<std::filesystem::path> read = experiment.objective()->files();
  const std::vector<std::filesystem::path> own = model_files(network);
  return std::find_first_of(own.begin(), own.end(), read.begin(), read.end()) != own.end();
}

namespace {

std::string named_network(const Experiment& experiment, const std::string& network) {
  return was_trained_with(experiment, network) ? network + " (which the training used)" : network;
}

// Raw samples of the experiment must go through the network's own codec into its shape.
void expect_fits(const Experiment& experiment, const LoadedModel& network, const char* key, const std::string& path) {
  classifier_of(network.model, path);
  std::vector<std::int64_t> shape = experiment.data_spec().shape;
  shape.insert(shape.begin(), 1);
  const at::Tensor raw = experiment.codec()->decode(at::zeros(shape));
  const std::vector<std::int64_t> found = network.experiment->codec()->encoded_shape(raw[0].sizes().vec());
  if (found != network.model.spec.shape)
    experiment.config()
        .section("evaluate")
        .fail(key, concat(path, " takes ", at::IntArrayRef(network.model.spec.shape), ", and the samples are ",
                          at::IntArrayRef(found), "."));
}

void expect_knows(const Experiment& experiment, const LoadedModel& judge, std::int64_t classes) {
  if (judge.model.spec.num_classes == classes) return;
  experiment.config()
      .section("evaluate")
      .fail("judge", concat(experiment.evaluate().judge, " knows ", judge.model.spec.num_classes,
                            " classes, and the data has ", classes, "."));
}

}  // namespace

Evaluator::Evaluator(const Experiment& experiment) : experiment_(experiment) {
  expect_measurable(experiment);
  const EvaluateSettings& evaluate = experiment.evaluate();
  if (wants("frechet")) {
    features_ = open_model(evaluate.features, experiment.catalog());
    expect_fits(experiment, *features_, "features", evaluate.features);
  }
  if (wants("class_agreement")) {
    open_judge();
    expect_fits(experiment, *judge_, "judge", evaluate.judge);
    expect_knows(experiment, *judge_, experiment.data_spec().num_classes);
  }
  if (wants("prompt_obeyed")) {
    open_judge();
    const DataSpec needed = experiment.held_out()->prompt_checker()->judge_spec();
    classifier_of(judge_->model, evaluate.judge);
    if (judge_->model.spec.shape != needed.shape)
      experiment.config()
          .section("evaluate")
          .fail("judge", concat(evaluate.judge, " takes ", at::IntArrayRef(judge_->model.spec.shape),
                                ", and prompts are judged on ", at::IntArrayRef(needed.shape), "."));
    expect_knows(experiment, *judge_, needed.num_classes);
  }
}

void Evaluator::open_judge() {
  if (!judge_) judge_ = open_model(experiment_.evaluate().judge, experiment_.catalog());
}

bool Evaluator::wants(const std::string& metric) const {
  const auto& metrics = experiment_.evaluate().metrics;
  return std::find(metrics.begin(), metrics.end(), metric) != metrics.end();
}

at::Tensor Evaluator::features(const at::Tensor& raw) {
  const Classifier& network = classifier_of(features_->model, experiment_.evaluate().features);
  return in_parts(raw, *features_->experiment->codec(), features_->model,
                  [&](const at::Tensor& x) { return network.features(x); });
}

const at::Tensor& Evaluator::reference() {
  if (!reference_.defined()) {
    const DatasetPtr data = experiment_.held_out();
    if (!data) throw DataError("evaluate: frechet needs a dataset with a test split.");
    reference_ = features(examples(*data, data->size()).data);
  }
  return reference_;
}

nlohmann::json Evaluator::measure(const at::Tensor& raw, const std::vector<std::int64_t>& labels,
                                  const std::vector<std::string>& captions) {
  nlohmann::json result{{"details", nlohmann::json::object()}};
  if (wants("class_agreement") && !labels.empty()) add_class_agreement(result, raw, labels);
  if (wants("prompt_obeyed") && !captions.empty()) add_prompts(result, raw, captions);
  if (!wants("frechet")) return result;
  const at::Tensor own = features(raw);
  const Interval interval = frechet_interval(own, reference(), experiment_.seed());
  result["frechet"] = frechet_distance(own, reference());
  result["details"]["frechet"] = {
      {"low", interval.low},
      {"high", interval.high},
      {"n", raw.size(0)},
      {"protocol", concat("features of ", named_network(experiment_, experiment_.evaluate().features), " against ",
                          reference().size(0),
                          " held-out examples; 95 % bootstrap interval over samples "
                          "with the bias of resampling taken off")}};
  return result;
}

void Evaluator::add_class_agreement(nlohmann::json& result, const at::Tensor& raw,
                                    const std::vector<std::int64_t>& labels) {
  const Classifier& judge = classifier_of(judge_->model, experiment_.evaluate().judge);
  const at::Tensor named = in_parts(raw, *judge_->experiment->codec(), judge_->model,
                                    [&](const at::Tensor& x) { return judge.logits(x).argmax(1); });
  const auto right = named.eq(at::tensor(labels, at::kLong)).sum().item<std::int64_t>();
  const std::int64_t n = raw.size(0);
  result["class_agreement"] = static_cast<double>(right) / static_cast<double>(n);
  result["details"]["class_agreement"] =
      proportion(right, n,
                 concat("share recognised as the class asked for, by ",
                        named_network(experiment_, experiment_.evaluate().judge), "; 95 % Wilson interval"));
}

Naming Evaluator::naming() const {
  return [&judge = classifier_of(judge_->model, experiment_.evaluate().judge),
          device = judge_->model.device](const at::Tensor& x) {
    const c10::NoGradGuard no_grad;
    return judge.logits(x.to(device)).argmax(1).to(at::kCPU);
  };
}

void Evaluator::add_prompts(nlohmann::json& result, const at::Tensor& raw, const std::vector<std::string>& captions) {
  result["prompts"] = measure_prompts(*experiment_.held_out()->prompt_checker(), raw, captions, naming());
  const nlohmann::json& in_full = result["prompts"]["rows"][0];
  result["prompt_obeyed"] = in_full["share"];
  result["details"]["prompt_obeyed"] = {
      {"low", in_full["low"]},
      {"high", in_full["high"]},
      {"n", in_full["n"]},
      {"protocol", concat("share that shows all its held-out caption asks for, as read with ",
                          named_network(experiment_, experiment_.evaluate().judge),
                          "; 95 % Wilson interval; ceiling: the real examples of the same captions")}};
}

nlohmann::json Evaluator::real_prompts(std::int64_t n) {
  const Batch real = examples(*experiment_.held_out(), n);
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < real.data.size(0); ++i) captions.push_back(text_of(real.condition.at("caption")[i]));
  return measure_prompts(*experiment_.held_out()->prompt_checker(), real.data, captions, naming());
}

double Evaluator::frechet_floor(std::int64_t n) {
  return frechet_distance(features(examples(*experiment_.dataset(), n).data), reference());
}

double Evaluator::frechet_noise(std::int64_t n) {
  std::vector<std::int64_t> shape = experiment_.data_spec().shape;
  shape.insert(shape.begin(), n);
  at::Tensor noise = at::empty(shape, at::kFloat);
  fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())},
              {experiment_.seed(), Purpose::kEvaluate, 0, 1, 0});
  return frechet_distance(features(experiment_.codec()->decode(noise)), reference());
}

nlohmann::json measure_accuracy(const Experiment& experiment, const Model& model) {
  const DatasetPtr data = experiment.held_out();
  if (!data) throw DataError("evaluate: accuracy needs a dataset with a test split.");
  const Batch batch = examples(*data, data->size());
  const Classifier& classifier = classifier_of(model, "the model");
  const at::Tensor named = in_parts(batch.data, *experiment.codec(), model,
                                    [&](const at::Tensor& x) { return classifier.logits(x).argmax(1); });
  const auto right = named.eq(batch.condition.at("label")).sum().item<std::int64_t>();
  const std::int64_t n = batch.data.size(0);
  return {{"accuracy", static_cast<double>(right) / static_cast<double>(n)},
          {"details", {{"accuracy", proportion(right, n, "held-out examples named rightly; 95 % Wilson interval")}}}};
}

nlohmann::json measure_reconstruction(const Experiment& experiment, const Model& model,
                                      const std::filesystem::path& folder) {
  constexpr std::int64_t kShown = 20;
  const DatasetPtr data = experiment.held_out();
  if (!data) throw DataError("evaluate: psnr needs a dataset with a test split.");
  const auto& network = dynamic_cast<const AutoencoderNetwork&>(*model.backbone);
  const Codec& codec = *experiment.codec();
  const at::Tensor raw = examples(*data, experiment.evaluate().n).data;
  const at::Tensor x = codec.encode(raw);
  const at::Tensor back =
      in_parts(raw, codec, model, [&](const at::Tensor& part) { return network.decode(network.encode(part).mean); });
  // Of encoded data in [-1, 1]: the peak is 2.
  const at::Tensor decibel = 10 * (4.0 / (back - x).square().flatten(1).mean(1).clamp_min(1e-12)).log10();
  const auto n = static_cast<double>(decibel.numel());
  const double mean = decibel.mean().item<double>(), half = 1.96 * decibel.std().item<double>() / std::sqrt(n);
  const at::Tensor pairs = at::stack(
      {raw.narrow(0, 0, std::min(kShown, raw.size(0))), codec.decode(back.narrow(0, 0, std::min(kShown, raw.size(0))))},
      1);
  make_folder(folder);
  write_file(folder / "reconstructions.png", codec.sheet_png(pairs.flatten(0, 1), 10));
  nlohmann::json result{{"psnr", mean},
                        {"n", decibel.numel()},
                        {"details",
                         {{"psnr",
                           {{"low", mean - half},
                            {"high", mean + half},
                            {"n", decibel.numel()},
                            {"protocol", "decibel, mean over held-out examples; 95 % normal interval"}}}}}};
  if (network.codes().defined()) {
    const at::Tensor index = in_parts(raw, codec, model, [&](const at::Tensor& part) {
      return quantised(network.encode(part).mean, network.codes(), 0.0).index;
    });
    result["codes_used"] = std::get<0>(at::_unique2(index)).numel();
  }
  return result;
}

}  // namespace thaw
