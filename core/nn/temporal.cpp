#include "core/nn/temporal.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::nn {

at::Tensor rotated_by_position(const at::Tensor& x_TD) {
  const std::int64_t length = x_TD.size(-2), half = x_TD.size(-1) / 2;
  const auto options = x_TD.options().dtype(at::kFloat);
  const at::Tensor frequency = at::exp(at::arange(half, options) * (-std::log(10000.0) / static_cast<double>(half)));
  const at::Tensor angle = at::arange(length, options).unsqueeze(1) * frequency;
  const at::Tensor c = at::cos(angle).to(x_TD.scalar_type()), s = at::sin(angle).to(x_TD.scalar_type());
  const auto halves = x_TD.chunk(2, -1);
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1);
}

namespace {

// As many as fit whose width is even, which rotations need.
std::int64_t heads_within(std::int64_t channels, std::int64_t head_width) {
  if (channels % 2 != 0)
    throw ConfigError(
        concat("backbone.width: attention along time needs even numbers of channels, "
               "got ",
               channels, "."));
  std::int64_t heads = std::max<std::int64_t>(1, channels / head_width);
  while (channels % (2 * heads) != 0) --heads;
  return heads;
}

}  // namespace

TemporalAttention::TemporalAttention(const Scope& scope, std::int64_t channels, std::int64_t head_width)
    : norm(scope / "norm", channels, norm_groups(channels)),
      qkv(scope / "qkv", channels, 3 * channels, 1),
      project(scope / "project", channels, channels, 1, 1, 0.0),
      heads(heads_within(channels, head_width)) {}

at::Tensor TemporalAttention::operator()(const at::Tensor& x_MCHW, std::int64_t frames) const {
  const std::int64_t n = x_MCHW.size(0) / frames, c = x_MCHW.size(1), places = x_MCHW.size(2) * x_MCHW.size(3);
  const std::int64_t d = c / heads;
  // [N, T, 3, heads, D, places] -> [3, N places, heads, T, D]
  const at::Tensor qkv_3PhTD = qkv(norm(x_MCHW))
                                   .reshape({n, frames, 3, heads, d, places})
                                   .permute({2, 0, 5, 3, 1, 4})
                                   .reshape({3, n * places, heads, frames, d});
  const at::Tensor h_PhTD =
      attention(rotated_by_position(qkv_3PhTD[0]), rotated_by_position(qkv_3PhTD[1]), qkv_3PhTD[2]);
  const at::Tensor h = h_PhTD.reshape({n, places, heads, frames, d}).permute({0, 3, 2, 4, 1}).reshape(x_MCHW.sizes());
  return x_MCHW + project(h);
}

}  // namespace thaw::nn
