#include "modalities/audio/oobleck.h"

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/nn/streaming.h"

namespace thaw::audio {

namespace {

constexpr double kLeastSpread = 1e-4;
constexpr double kLeastDivisor = 1e-9;
constexpr std::int64_t kWideKernel = 7, kMomentsKernel = 3;
constexpr std::int64_t kDilations[] = {1, 3, 9};

struct Shape {
  std::int64_t in, out, kernel;
};

NormedConv1d convolution(const TakeWeight& take, const std::string& name, const Shape& shape, std::int64_t dilation = 1,
                         bool has_bias = true) {
  NormedConv1d conv;
  conv.length = take(name + ".weight_g", {shape.out, 1, 1}, Init::ones());
  conv.direction = take(name + ".weight_v", {shape.out, shape.in, shape.kernel}, Init::fan_in(shape.in * shape.kernel));
  if (has_bias) conv.bias = take(name + ".bias", {shape.out}, Init::zeros());
  conv.padding = dilation * (shape.kernel / 2);
  conv.dilation = dilation;
  return conv;
}

/// Kernels twice as long as the stride.
NormedConv1d resampling(const TakeWeight& take, const std::string& name, std::int64_t in, std::int64_t out,
                        std::int64_t stride, bool is_transposed) {
  NormedConv1d conv;
  const std::int64_t first = is_transposed ? in : out, second = is_transposed ? out : in;
  conv.length = take(name + ".weight_g", {first, 1, 1}, Init::ones());
  conv.direction = take(name + ".weight_v", {first, second, 2 * stride}, Init::fan_in(2 * stride * second));
  conv.bias = take(name + ".bias", {out}, Init::zeros());
  conv.stride = stride;
  conv.padding = stride / 2;
  conv.is_transposed = is_transposed;
  return conv;
}

Snake snake(const TakeWeight& take, const std::string& name, std::int64_t width) {
  return {take(name + ".alpha", {1, width, 1}, Init::zeros()), take(name + ".beta", {1, width, 1}, Init::zeros())};
}

std::vector<OobleckUnit> units(const TakeWeight& take, const std::string& name, std::int64_t width) {
  std::vector<OobleckUnit> made;
  for (const std::int64_t dilation : kDilations) {
    const std::string unit = concat(name, ".res_unit", made.size() + 1);
    made.push_back({snake(take, unit + ".snake1", width), snake(take, unit + ".snake2", width),
                    convolution(take, unit + ".conv1", {width, width, kWideKernel}, dilation),
                    convolution(take, unit + ".conv2", {width, width, 1})});
  }
  return made;
}

}  // namespace

std::int64_t OobleckOptions::factor() const {
  std::int64_t product = 1;
  for (const std::int64_t stride : strides) product *= stride;
  return product;
}

at::Tensor NormedConv1d::operator()(const at::Tensor& x_NCT) const {
  const at::Tensor weight = at::_weight_norm(nn::here(direction), nn::here(length), 0);
  return is_transposed ? at::conv_transpose1d(x_NCT, weight, nn::here(bias), stride, padding)
                       : at::conv1d(x_NCT, weight, nn::here(bias), stride, padding, dilation);
}

at::Tensor Snake::operator()(const at::Tensor& x_NCT) const {
  const at::Tensor b = nn::here(log_b).exp() + kLeastDivisor;
  return x_NCT + (nn::here(log_a).exp() * x_NCT).sin().square() / b;
}

at::Tensor OobleckUnit::operator()(const at::Tensor& x_NCT) const {
  return x_NCT + conv2(snake2(conv1(snake1(x_NCT))));
}

Oobleck::Oobleck(const TakeWeight& take, const OobleckOptions& options) {
  const std::size_t levels = options.strides.size();
  // Of level 0, the sound's own, to the deepest.
  const auto multiplier = [&](std::size_t level) { return level == 0 ? 1 : options.multipliers[level - 1]; };
  encoder_in_ = convolution(take, "encoder.conv1", {options.data_channels, options.encoder_width, kWideKernel});
  for (std::size_t i = 0; i < levels; ++i) {
    const std::string name = concat("encoder.block.", i);
    const std::int64_t in = options.encoder_width * multiplier(i), out = options.encoder_width * multiplier(i + 1);
    down_.push_back({units(take, name, in), snake(take, name + ".snake1", in),
                     resampling(take, name + ".conv1", in, out, options.strides[i], false)});
  }
  const std::int64_t deep = options.encoder_width * multiplier(levels);
  encoder_snake_ = snake(take, "encoder.snake1", deep);
  encoder_out_ = convolution(take, "encoder.conv2", {deep, options.moments(), kMomentsKernel});

  decoder_in_ = convolution(take, "decoder.conv1",
                            {options.latent_channels, options.decoder_width * multiplier(levels), kWideKernel});
  for (std::size_t i = 0; i < levels; ++i) {
    const std::string name = concat("decoder.block.", i);
    const std::size_t level = levels - i;
    const std::int64_t in = options.decoder_width * multiplier(level),
                       out = options.decoder_width * multiplier(level - 1);
    up_.push_back({units(take, name, out), snake(take, name + ".snake1", in),
                   resampling(take, name + ".conv_t1", in, out, options.strides[level - 1], true)});
  }
  decoder_snake_ = snake(take, "decoder.snake1", options.decoder_width);
  decoder_out_ =
      convolution(take, "decoder.conv2", {options.decoder_width, options.data_channels, kWideKernel}, 1, false);
}

at::Tensor Oobleck::encode(const at::Tensor& x_NCT) const {
  at::Tensor h = encoder_in_(x_NCT);
  for (const Stage& stage : down_) {
    for (const OobleckUnit& unit : stage.units) h = unit(h);
    h = stage.resample(stage.snake(h));
  }
  return encoder_out_(encoder_snake_(h));
}

at::Tensor Oobleck::decode(const at::Tensor& z_NCT) const {
  at::Tensor h = decoder_in_(z_NCT);
  for (const Stage& stage : up_) {
    h = stage.resample(stage.snake(h));
    for (const OobleckUnit& unit : stage.units) h = unit(h);
  }
  return decoder_out_(decoder_snake_(h));
}

Posterior oobleck_posterior(const at::Tensor& moments) {
  const auto halves = moments.chunk(2, 1);
  return {halves[0], 2 * (at::softplus(halves[1]) + kLeastSpread).log()};
}

}  // namespace thaw::audio
