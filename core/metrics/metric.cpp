#include "core/metrics/metric.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/metrics/spread.h"

namespace thaw {

namespace {

constexpr std::int64_t kBatch = 500;

// A function of encoded parts, over raw data, joined.
template <class Function>
at::Tensor in_parts(const at::Tensor& raw, const TrainedClassifier& network, const Function& function) {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < raw.size(0); first += kBatch) {
    const at::Tensor part = raw.narrow(0, first, std::min(kBatch, raw.size(0) - first));
    parts.push_back(function(network.codec->encode(part).to(network.model->device)).to(at::kCPU));
  }
  return at::cat(parts);
}

}  // namespace

const Classifier& TrainedClassifier::network() const {
  const auto* classifier = dynamic_cast<const Classifier*>(model->backbone.get());
  if (classifier == nullptr) throw DataError(concat(path, ": is not a classifier."));
  return *classifier;
}

at::Tensor TrainedClassifier::logits(const at::Tensor& raw_N) const {
  return in_parts(raw_N, *this, [&own = network()](const at::Tensor& x) { return own.logits(x); });
}

at::Tensor TrainedClassifier::features(const at::Tensor& raw_N) const {
  return in_parts(raw_N, *this, [&own = network()](const at::Tensor& x) { return own.features(x); });
}

at::Tensor TrainedClassifier::classes(const at::Tensor& raw_N) const {
  return logits(raw_N).argmax(1);
}

Figure share_figure(const std::string& name, std::int64_t successes, std::int64_t n, const std::string& protocol) {
  return {name, static_cast<double>(successes) / static_cast<double>(n), proportion_interval(successes, n), n,
          concat(protocol, "; 95 % Wilson interval")};
}

Figure mean_figure(const std::string& name, const at::Tensor& values_N, const std::string& protocol) {
  const at::Tensor values = values_N.to(at::kDouble);
  const double mean = values.mean().item<double>();
  const double half = 1.959963984540054 * values.std().item<double>() / std::sqrt(static_cast<double>(values.numel()));
  return {name, mean, {mean - half, mean + half}, values.numel(), concat(protocol, "; 95 % normal interval")};
}

Batch examples(const Dataset& dataset, std::int64_t n) {
  return spread_examples(dataset, n).batch;
}

void expect_takes(const MetricParts& parts, const TrainedClassifier& network, const char* key,
                  const std::vector<std::int64_t>& raw_shape) {
  const std::vector<std::int64_t> found = network.codec->encoded_shape(raw_shape);
  std::vector<std::int64_t> taken = network.model->spec.shape;
  if (network.network().takes_any_length() && taken.size() > 1 && found.size() == taken.size()) taken[1] = found[1];
  if (found != taken)
    parts.section.fail(key, concat(network.path, " takes ", at::IntArrayRef(network.model->spec.shape),
                                   ", and the samples are ", at::IntArrayRef(found), "."));
}

void expect_knows(const MetricParts& parts, std::int64_t classes) {
  const std::int64_t known = parts.judge->model->spec.num_classes;
  if (known != classes)
    parts.section.fail("judge",
                       concat(parts.judge->path, " knows ", known, " classes, and the data has ", classes, "."));
}

}  // namespace thaw
