#include "core/nn/diffwave.h"

#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

namespace thaw::nn {

namespace {

constexpr std::int64_t kKernel = 3;

}  // namespace

DiffWave::DiffWave(const Scope& scope, const DiffWaveOptions& options)
    : options_(options),
      embed_(scope, options.told()),
      in_(scope / "in", options.in_channels, options.width, 1),
      skip_(scope / "skip", options.width, options.width, 1),
      out_(scope / "out", options.width, options.out_channels, 1, 1, 0.0) {
  for (std::int64_t i = 0; i < options_.depth; ++i) {
    const Scope own = scope / "layers" / static_cast<std::size_t>(i);
    layers_.push_back(
        {Conv1d(own / "gated", options_.width, 2 * options_.width, kKernel, std::int64_t{1} << (i % options_.cycle)),
         Conv1d(own / "out", options_.width, 2 * options_.width, 1),
         Linear(own / "embed", options_.embedding, options_.width)});
  }
}

std::int64_t DiffWave::reach() const {
  std::int64_t reach = 1;
  for (const Layer& layer : layers_) reach += (kKernel - 1) * layer.gated.dilation;
  return reach;
}

at::Tensor DiffWave::operator()(const at::Tensor& x_NCT, const Told& told) const {
  // [N, D], or [N, T, D] where places have levels of their own
  const at::Tensor embedding = embed_(told);
  const auto channels_of = [](const at::Tensor& each) {
    return each.dim() == 2 ? each.unsqueeze(2) : each.transpose(1, 2);
  };
  at::Tensor h = at::relu(in_(x_NCT)), sum;
  for (const Layer& layer : layers_) {
    const auto filter_and_gate = layer.gated(h + channels_of(layer.embed(embedding))).chunk(2, 1);
    const auto answers = layer.out(filter_and_gate[0].tanh() * filter_and_gate[1].sigmoid()).chunk(2, 1);
    h = (h + answers[0]) * (1.0 / std::numbers::sqrt2);
    sum = sum.defined() ? sum + answers[1] : answers[1];
  }
  return out_(at::relu(skip_(sum / std::sqrt(static_cast<double>(options_.depth)))));
}

}  // namespace thaw::nn
