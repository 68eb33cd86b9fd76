// A small classifier of clips, whose features see what moves where.
// N batch, C channels, T time, H height, W width

#include <array>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/metrics/features.h"
#include "core/nn/layers.h"
#include "core/nn/streaming.h"
#include "modalities/video/list.h"

namespace thaw::video {

namespace {

struct Conv3d {
  at::Tensor weight, bias;
  std::array<std::int64_t, 3> stride{1, 1, 1};
  Conv3d() = default;
  Conv3d(const Scope& scope, std::int64_t in, std::int64_t out, std::array<std::int64_t, 3> stride_)
      : weight(scope.add("weight", {out, in, 3, 3, 3}, Init::fan_in(in * 27, 1.0))),
        bias(scope.add("bias", {out}, Init::zeros())),
        stride(stride_) {}
  at::Tensor operator()(const at::Tensor& x_NCTHW) const {
    return at::conv3d(x_NCTHW, nn::here(weight), nn::here(bias), stride, {1, 1, 1});
  }
};

std::int64_t halved(std::int64_t size) {
  return (size + 1) / 2;
}

/// Three stages of 3 x 3 x 3 convolutions, the first halving the picture, the others time as well; a hidden layer that
/// sees every place and time, a linear layer.
class ClipClassifier : public Classifier {
 public:
  ClipClassifier(const DataSpec& spec, const Settings& settings, std::uint64_t seed) : parameters_(seed) {
    const std::int64_t width = settings.integer("width"), features = settings.integer("features");
    const Scope scope(parameters_);
    std::int64_t channels = spec.shape[0], t = spec.shape[1], h = spec.shape[2], w = spec.shape[3];
    for (std::size_t i = 0; i < kStages; ++i) {
      const std::int64_t out = width << i, step = i == 0 ? 1 : 2;
      first_[i] = Conv3d(scope / "first" / i, channels, out, {step, 2, 2});
      norm_[i] = nn::GroupNorm(scope / "norm" / i, out, nn::norm_groups(out, 8));
      second_[i] = Conv3d(scope / "second" / i, out, out, {1, 1, 1});
      channels = out, h = halved(h), w = halved(w);
      if (step == 2) t = halved(t);
    }
    hidden_ = nn::Linear(scope / "hidden", channels * t * h * w, features);
    out_ = nn::Linear(scope / "out", features, spec.num_classes);
  }
  at::Tensor features(const at::Tensor& x_NCTHW) const override { return layers(x_NCTHW).back().flatten(1); }
  at::Tensor logits(const at::Tensor& x_NCTHW) const override { return out_(features(x_NCTHW)); }
  std::vector<at::Tensor> layers(const at::Tensor& x_NCTHW) const override {
    std::vector<at::Tensor> layers;
    at::Tensor h = x_NCTHW;
    for (std::size_t i = 0; i < kStages; ++i) {
      h = at::relu(norm_[i](first_[i](h)));
      h = h + at::relu(second_[i](h));
      layers.push_back(h);
    }
    layers.push_back(at::relu(hidden_(h.flatten(1))).unsqueeze(2));
    return layers;
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  static constexpr std::size_t kStages = 3;
  Parameters parameters_;
  Conv3d first_[kStages], second_[kStages];
  nn::GroupNorm norm_[kStages];
  nn::Linear hidden_, out_;
};

}  // namespace

void register_classifiers(BackboneRegistry& registry) {
  registry.add({{"clip_classifier",
                 "Three stages of 3-D convolutions and a hidden layer that sees every place and time.",
                 "Tran et al. 2015 (C3D), in small",
                 {{"width", std::int64_t{8}, "channels of the first stage", 1, 1024},
                  {"features", std::int64_t{64}, "width of the layer before the last", 2, 4096}},
                 {"classifier"}},
                [](const Settings& settings, const DataSpec& spec, std::uint64_t seed) -> std::unique_ptr<Backbone> {
                  if (spec.shape.size() != 4 || spec.num_classes < 2) settings.fail("type", "needs labelled clips.");
                  return std::make_unique<ClipClassifier>(spec, settings, seed);
                }});
}

}  // namespace thaw::video
