#include "core/perceptual.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/metrics/features.h"

namespace thaw {

namespace {

constexpr double kSmoothing = 1e-3;  // below it the distance is a square

// Activations [N, C, ...] of unit length along C.
at::Tensor directions(const at::Tensor& activations) {
  const at::Tensor h = activations.to(at::kFloat);
  return h / (h.square().sum(1, true) + 1e-10).sqrt();
}

}  // namespace

PerceptualDistance::PerceptualDistance(std::string path, ModelOpener open)
    : path_(std::move(path)), open_(std::move(open)) {}

void PerceptualDistance::prepare(const Model& student, const std::string& option) {
  if (!is_used()) return;
  model_ = open_(path_);
  classifier_ = dynamic_cast<const Classifier*>(model_->backbone.get());
  if (classifier_ == nullptr)
    throw ConfigError(
        concat(option, ": ", path_, " is no classifier; a distance is taken between a classifier's layers."));
  if (model_->spec.shape != student.spec.shape)
    throw ConfigError(concat(option, ": ", path_, " sees samples of ", at::IntArrayRef(model_->spec.shape),
                             ", the model's are ", at::IntArrayRef(student.spec.shape), "."));
  for (auto [name, weight] : model_->backbone->parameters().all()) weight.requires_grad_(false);
}

at::Tensor PerceptualDistance::operator()(const at::Tensor& a, const at::Tensor& b) const {
  const std::vector<at::Tensor> of_a = classifier_->layers(a), of_b = classifier_->layers(b);
  at::Tensor sum = at::zeros({a.size(0)}, a.options().dtype(at::kFloat));
  for (std::size_t i = 0; i < of_a.size(); ++i) {
    const at::Tensor squares = (directions(of_a[i]) - directions(of_b[i])).square().sum(1);  // [N, positions ...]
    sum = sum + squares.flatten(1).mean(1);
  }
  return huber_of_samples(sum, kSmoothing);
}

}  // namespace thaw
