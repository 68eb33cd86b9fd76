// Two small picture classifiers of different architecture: features for a distance, and a judge.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/math/philox.h"
#include "core/metrics/features.h"
#include "core/nn/layers.h"
#include "modalities/images/list.h"

namespace thaw::image {

namespace {

/// Convolutions with stride, global mean, a hidden layer, a linear layer.
class ConvolutionalClassifier : public Classifier {
 public:
  ConvolutionalClassifier(const DataSpec& spec, std::int64_t width, std::int64_t features, std::uint64_t seed)
      : parameters_(seed) {
    const Scope scope(parameters_);
    std::int64_t channels = spec.shape[0];
    for (std::size_t i = 0; i < 3; ++i) {
      const std::int64_t out = width << i;
      first_[i] = nn::Conv2d(scope / "first" / i, channels, out, 3);
      norm_[i] = nn::GroupNorm(scope / "norm" / i, out, nn::norm_groups(out, 8));
      second_[i] = nn::Conv2d(scope / "second" / i, out, out, 3, 2);
      channels = out;
    }
    const std::int64_t height = (spec.shape[1] + 7) / 8, width_out = (spec.shape[2] + 7) / 8;
    hidden_ = nn::Linear(scope / "hidden", channels * height * width_out, features);
    out_ = nn::Linear(scope / "out", features, spec.num_classes);
  }
  at::Tensor features(const at::Tensor& x_NCHW) const override {
    at::Tensor h = x_NCHW;
    for (std::size_t i = 0; i < 3; ++i) h = at::relu(second_[i](at::relu(norm_[i](first_[i](h)))));
    return at::relu(hidden_(h.flatten(1)));
  }
  at::Tensor logits(const at::Tensor& x_NCHW) const override { return out_(features(x_NCHW)); }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_;
  nn::Conv2d first_[3], second_[3];
  nn::GroupNorm norm_[3];
  nn::Linear hidden_, out_;
};

/// LeCun et al. 1998 in today's form: large kernels, pooling, two linear layers. Another family than the one above.
class PooledClassifier : public Classifier {
 public:
  PooledClassifier(const DataSpec& spec, std::int64_t width, std::int64_t features, std::uint64_t seed)
      : parameters_(seed) {
    const Scope scope(parameters_);
    conv1_ = nn::Conv2d(scope / "conv1", spec.shape[0], width, 5);
    conv2_ = nn::Conv2d(scope / "conv2", width, 2 * width, 5);
    hidden_ = nn::Linear(scope / "hidden", 2 * width * (spec.shape[1] / 4) * (spec.shape[2] / 4), features);
    out_ = nn::Linear(scope / "out", features, spec.num_classes);
  }
  at::Tensor features(const at::Tensor& x_NCHW) const override {
    at::Tensor h = at::max_pool2d(at::relu(conv1_(x_NCHW)), {2, 2});
    h = at::max_pool2d(at::relu(conv2_(h)), {2, 2});
    return at::relu(hidden_(nn::dropout(h.flatten(1), 0.3, 0)));
  }
  at::Tensor logits(const at::Tensor& x_NCHW) const override { return out_(nn::dropout(features(x_NCHW), 0.3, 1)); }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_;
  nn::Conv2d conv1_, conv2_;
  nn::Linear hidden_, out_;
};

/// Cross entropy with pictures moved by up to `shift` pixels a side.
class ClassificationObjective : public Objective {
 public:
  explicit ClassificationObjective(std::int64_t shift) : shift_(shift) {}
  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    const auto label = condition.find("label");
    if (label == condition.end()) throw DataError("objective \"classification\": the dataset has no labels.");
    const AutocastScope autocast(model.precision, model.device);
    const at::Tensor logits = model.backbone->forward(shift_ > 0 ? shifted(x0, context) : x0, {}, condition);
    return at::cross_entropy_loss(logits.to(at::kFloat), label->second, {}, 0 /* no reduction */);
  }

 private:
  at::Tensor shifted(const at::Tensor& x_NCHW, const StepContext& context) const {
    const at::Tensor padded = at::constant_pad_nd(x_NCHW, {shift_, shift_, shift_, shift_}, -1.0);
    std::vector<at::Tensor> moved;
    for (std::int64_t n = 0; n < x_NCHW.size(0); ++n) {
      const auto sample = context.step * static_cast<std::uint64_t>(context.batch) +
                          static_cast<std::uint64_t>(context.first_in_batch + n);
      const NoiseKey key{context.seed, Purpose::kAugment, sample, 0, 0};
      const auto places = static_cast<std::uint64_t>(2 * shift_ + 1);
      moved.push_back(padded[n]
                          .narrow(1, static_cast<std::int64_t>(uniform_integer(key, 0, places)), x_NCHW.size(2))
                          .narrow(2, static_cast<std::int64_t>(uniform_integer(key, 1, places)), x_NCHW.size(3)));
    }
    return at::stack(moved);
  }
  std::int64_t shift_;
};

template <class Network>
std::unique_ptr<Backbone> make_classifier(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  if (spec.shape.size() != 3 || spec.num_classes < 2)
    settings.fail("type", "needs labelled pictures.");
  return std::make_unique<Network>(spec, settings.integer("width"), settings.integer("features"), seed);
}

}  // namespace

void register_classifiers(BackboneRegistry& registry) {
  const auto options = [](std::int64_t width, std::int64_t features) {
    return std::vector<Option>{{"width", width, "channels of the first layer", 1, 1024},
                               {"features", features, "width of the layer before the last", 2, 4096}};
  };
  registry.add({{"convolutional_classifier", "Small strided convolutions, GroupNorm, one hidden layer.", "",
                 options(16, 64), {"classifier"}},
                make_classifier<ConvolutionalClassifier>});
  registry.add({{"pooled_classifier", "5 x 5 kernels, max pooling, dropout, one hidden layer.", "LeCun et al. 1998",
                 options(16, 64), {"classifier"}},
                make_classifier<PooledClassifier>});
}

void register_image_objectives(ObjectiveRegistry& registry) {
  registry.add({{"classification",
                 "Cross entropy of a classifier's logits.",
                 "",
                 {{"shift", std::int64_t{2}, "pixels by which pictures are moved at random", 0, 64}},
                 {"classifier"}},
                [](const Settings& settings, const ObjectiveParts&, const Config&) -> ObjectivePtr {
                  return std::make_shared<ClassificationObjective>(settings.integer("shift"));
                }});
}

}  // namespace thaw::image
