#include "core/nn/layers1d.h"

#include <ATen/ATen.h>

#include "core/nn/streaming.h"

namespace thaw::nn {

Conv1d::Conv1d(const Scope& scope, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t dilation_,
               double gain)
    : weight(scope.add("weight", {out, in, kernel}, Init::fan_in(in * kernel, gain))),
      bias(scope.add("bias", {out}, Init::zeros())),
      padding(dilation_ * (kernel / 2)),
      dilation(dilation_) {}

at::Tensor Conv1d::operator()(const at::Tensor& x_NCT) const {
  return at::conv1d(x_NCT, here(weight), here(bias), stride, padding, dilation);
}

}  // namespace thaw::nn
