#include "core/nn/patch_discriminator.h"

#include <ATen/ATen.h>

namespace thaw::nn {

PatchDiscriminator::PatchDiscriminator(const Scope& scope, std::int64_t channels, std::int64_t width,
                                       std::int64_t depth) {
  for (std::int64_t i = 0; i < depth; ++i) {
    const std::int64_t out = width << i;
    const auto place = static_cast<std::size_t>(i);
    convs_.emplace_back(scope / "convs" / place, channels, out, 4, 2, 1.0, 1);
    if (i > 0) norms_.emplace_back(scope / "norms" / place, out, norm_groups(out, 8));
    channels = out;
  }
  out_ = Conv2d(scope / "out", channels, 1, 3);
}

at::Tensor PatchDiscriminator::operator()(const at::Tensor& x_NCHW) const {
  constexpr double kSlope = 0.2;
  at::Tensor h = x_NCHW;
  for (std::size_t i = 0; i < convs_.size(); ++i) {
    h = convs_[i](h);
    if (i > 0) h = norms_[i - 1](h);  // the first sees contrast as it is
    h = at::leaky_relu(h, kSlope);
  }
  return out_(h);
}

PatchDiscriminator PatchDiscriminator::frozen() const {
  PatchDiscriminator constant = *this;
  const auto freeze = [](auto& layer) {
    layer.weight = layer.weight.detach();
    if (layer.bias.defined()) layer.bias = layer.bias.detach();
  };
  for (Conv2d& conv : constant.convs_) freeze(conv);
  for (GroupNorm& norm : constant.norms_) freeze(norm);
  freeze(constant.out_);
  return constant;
}

}  // namespace thaw::nn
