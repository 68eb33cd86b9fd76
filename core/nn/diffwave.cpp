#include "core/nn/diffwave.h"

#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

namespace thaw::nn {

namespace {

constexpr std::int64_t kKernel = 3;
constexpr double kLeak = 0.4;  // of what is told of places, as in the paper's code

}  // namespace

DiffWave::DiffWave(const Scope& scope, const DiffWaveOptions& options)
    : options_(options),
      embed_(scope, options.told()),
      in_(scope / "in", options.in_channels, options.width, 1),
      skip_(scope / "skip", options.width, options.width, 1),
      out_(scope / "out", options.width, options.out_channels, 1, 1, 0.0) {
  if (options_.local > 0) local_ = Conv1d(scope / "local", options_.local, options_.width, kKernel);
  for (std::int64_t i = 0; i < options_.depth; ++i) {
    const Scope own = scope / "layers" / static_cast<std::size_t>(i);
    Layer& layer = layers_.emplace_back();
    layer.gated =
        Conv1d(own / "gated", options_.width, 2 * options_.width, kKernel, std::int64_t{1} << (i % options_.cycle));
    layer.out = Conv1d(own / "out", options_.width, 2 * options_.width, 1);
    layer.embed = Linear(own / "embed", options_.embedding, options_.width);
    if (options_.local > 0) layer.local = Conv1d(own / "local", options_.width, 2 * options_.width, 1);
  }
}

std::int64_t DiffWave::reach() const {
  std::int64_t reach = 1;
  for (const Layer& layer : layers_) reach += (kKernel - 1) * layer.gated.dilation;
  return reach;
}

at::Tensor DiffWave::operator()(const at::Tensor& x_NCT, const Told& told, const at::Tensor& local_NCT) const {
  // [N, D], or [N, T, D] where places have levels of their own
  const at::Tensor embedding = embed_(told);
  const auto channels_of = [](const at::Tensor& each) {
    return each.dim() == 2 ? each.unsqueeze(2) : each.transpose(1, 2);
  };
  at::Tensor h = at::relu(in_(x_NCT)), sum, local;
  if (options_.local > 0) local = at::leaky_relu(local_(local_NCT), kLeak);
  for (const Layer& layer : layers_) {
    at::Tensor both = layer.gated(h + channels_of(layer.embed(embedding)));
    if (options_.local > 0) both = both + layer.local(local);
    const auto filter_and_gate = both.chunk(2, 1);
    const auto answers = layer.out(filter_and_gate[0].tanh() * filter_and_gate[1].sigmoid()).chunk(2, 1);
    h = (h + answers[0]) * (1.0 / std::numbers::sqrt2);
    sum = sum.defined() ? sum + answers[1] : answers[1];
  }
  return out_(at::relu(skip_(sum / std::sqrt(static_cast<double>(options_.depth)))));
}

}  // namespace thaw::nn
