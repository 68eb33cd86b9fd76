// Two small picture classifiers of different architecture: features for a distance, and a judge.

#include <ATen/ATen.h>

#include "core/metrics/features.h"
#include "core/nn/layers.h"
#include "modalities/images/list.h"

namespace thaw::image {

namespace {

/// Convolutions with stride, a hidden layer, a linear layer. Told of noise, it shifts the channels of each stage.
class ConvolutionalClassifier : public Classifier {
 public:
  ConvolutionalClassifier(const DataSpec& spec, const Settings& settings, std::uint64_t seed)
      : takes_noise_(settings.flag("takes_noise")), parameters_(seed) {
    const std::int64_t width = settings.integer("width"), features = settings.integer("features");
    const Scope scope(parameters_);
    std::int64_t channels = spec.shape[0];
    for (std::size_t i = 0; i < 3; ++i) {
      const std::int64_t out = width << i;
      first_[i] = nn::Conv2d(scope / "first" / i, channels, out, 3);
      norm_[i] = nn::GroupNorm(scope / "norm" / i, out, nn::norm_groups(out, 8));
      second_[i] = nn::Conv2d(scope / "second" / i, out, out, 3, 2);
      if (takes_noise_) noise_[i] = nn::NumberEmbedding(scope / "noise" / i, kNoiseFeatures, out);
      channels = out;
    }
    const std::int64_t height = (spec.shape[1] + 7) / 8, width_out = (spec.shape[2] + 7) / 8;
    hidden_ = nn::Linear(scope / "hidden", channels * height * width_out, features);
    out_ = nn::Linear(scope / "out", features, spec.num_classes);
  }
  at::Tensor features(const at::Tensor& x_NCHW) const override { return layers(x_NCHW).back().flatten(1); }
  std::vector<at::Tensor> layers(const at::Tensor& x_NCHW) const override {
    return noisy_layers(x_NCHW, at::zeros({x_NCHW.size(0)}, x_NCHW.options().requires_grad(false)));
  }
  at::Tensor logits(const at::Tensor& x_NCHW) const override { return out_(features(x_NCHW)); }
  bool takes_noise() const override { return takes_noise_; }
  at::Tensor noisy_logits(const at::Tensor& x_NCHW, const at::Tensor& noise_N) const override {
    return out_(noisy_layers(x_NCHW, noise_N).back().flatten(1));
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  static constexpr std::int64_t kNoiseFeatures = 32;

  std::vector<at::Tensor> noisy_layers(const at::Tensor& x_NCHW, const at::Tensor& noise_N) const {
    std::vector<at::Tensor> layers;
    at::Tensor h = x_NCHW;
    for (std::size_t i = 0; i < 3; ++i) {
      h = norm_[i](first_[i](h));
      if (takes_noise_) h = h + noise_[i](noise_N).unsqueeze(2).unsqueeze(3);
      h = at::relu(second_[i](at::relu(h)));
      layers.push_back(h);
    }
    layers.push_back(at::relu(hidden_(h.flatten(1))).unsqueeze(2));
    return layers;
  }

  bool takes_noise_;
  Parameters parameters_;
  nn::NumberEmbedding noise_[3];
  nn::Conv2d first_[3], second_[3];
  nn::GroupNorm norm_[3];
  nn::Linear hidden_, out_;
};

/// LeCun et al. 1998 in today's form: large kernels, pooling, two linear layers. Another family than the one above.
class PooledClassifier : public Classifier {
 public:
  PooledClassifier(const DataSpec& spec, const Settings& settings, std::uint64_t seed) : parameters_(seed) {
    const std::int64_t width = settings.integer("width"), features = settings.integer("features");
    const Scope scope(parameters_);
    conv1_ = nn::Conv2d(scope / "conv1", spec.shape[0], width, 5);
    conv2_ = nn::Conv2d(scope / "conv2", width, 2 * width, 5);
    hidden_ = nn::Linear(scope / "hidden", 2 * width * (spec.shape[1] / 4) * (spec.shape[2] / 4), features);
    out_ = nn::Linear(scope / "out", features, spec.num_classes);
  }
  at::Tensor features(const at::Tensor& x_NCHW) const override { return layers(x_NCHW).back().flatten(1); }
  std::vector<at::Tensor> layers(const at::Tensor& x_NCHW) const override {
    const at::Tensor first = at::max_pool2d(at::relu(conv1_(x_NCHW)), {2, 2});
    const at::Tensor second = at::max_pool2d(at::relu(conv2_(first)), {2, 2});
    return {first, second, at::relu(hidden_(nn::dropout(second.flatten(1), 0.3, 0))).unsqueeze(2)};
  }
  at::Tensor logits(const at::Tensor& x_NCHW) const override { return out_(nn::dropout(features(x_NCHW), 0.3, 1)); }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_;
  nn::Conv2d conv1_, conv2_;
  nn::Linear hidden_, out_;
};

template <class Network>
std::unique_ptr<Backbone> make_classifier(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  if (spec.shape.size() != 3 || spec.num_classes < 2) settings.fail("type", "needs labelled pictures.");
  return std::make_unique<Network>(spec, settings, seed);
}

}  // namespace

void register_classifiers(BackboneRegistry& registry) {
  const auto options = [](std::int64_t width, std::int64_t features) {
    return std::vector<Option>{{"width", width, "channels of the first layer", 1, 1024},
                               {"features", features, "width of the layer before the last", 2, 4096}};
  };
  std::vector<Option> convolutional = options(16, 64);
  convolutional.push_back({"takes_noise", false, "is told the noise number: for classifier guidance, objective.noisy"});
  registry.add({{"convolutional_classifier",
                 "Small strided convolutions, GroupNorm, one hidden layer.",
                 "",
                 convolutional,
                 {"classifier"}},
                make_classifier<ConvolutionalClassifier>});
  registry.add({{"pooled_classifier",
                 "5 x 5 kernels, max pooling, dropout, one hidden layer.",
                 "LeCun et al. 1998",
                 options(16, 64),
                 {"classifier"}},
                make_classifier<PooledClassifier>});
}

}  // namespace thaw::image
