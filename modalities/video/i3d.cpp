#include "modalities/video/i3d.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"

namespace thaw::video {

namespace {

using Sides = std::array<std::int64_t, 3>;  // time, height, width

// Pads each of the last three dimensions as SAME does, with `value`.
at::Tensor padded_same(const at::Tensor& x_NCTHW, const Sides& kernel, const Sides& stride, double value) {
  std::array<std::int64_t, 6> padding{};  // the last dimension first: before, behind
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t size = x_NCTHW.size(static_cast<std::int64_t>(i) + 2);
    const std::int64_t outputs = (size + stride[i] - 1) / stride[i];
    const std::int64_t missing = std::max<std::int64_t>(0, (outputs - 1) * stride[i] + kernel[i] - size);
    padding[2 * (2 - i)] = missing / 2;
    padding[2 * (2 - i) + 1] = missing - missing / 2;
  }
  if (std::ranges::all_of(padding, [](std::int64_t amount) { return amount == 0; })) return x_NCTHW;
  return at::constant_pad_nd(x_NCTHW, padding, value);
}

at::Tensor pooled(const at::Tensor& x_NCTHW, const Sides& kernel, const Sides& stride) {
  // Behind a ReLU nothing is below 0.
  return at::max_pool3d(padded_same(x_NCTHW, kernel, stride, 0.0), kernel, stride);
}

struct Unit {
  at::Tensor weight, bias;
  Sides kernel{}, stride{};
  Unit() = default;
  Unit(const Scope& scope, std::int64_t in, std::int64_t out, std::int64_t side, std::int64_t stride_ = 1)
      : weight(scope.add("weight", {out, in, side, side, side}, Init::fan_in(in * side * side * side, 1.0))),
        bias(scope.add("bias", {out}, Init::zeros())),
        kernel{side, side, side},
        stride{stride_, stride_, stride_} {}
  at::Tensor operator()(const at::Tensor& x_NCTHW) const {
    return at::relu(at::conv3d(padded_same(x_NCTHW, kernel, stride, 0.0), weight, bias, stride));
  }
};

// Channels of the four branches: 1 x 1; 1 x 1 then 3 x 3, twice; pooling then 1 x 1.
struct MixedShape {
  const char* name;
  std::array<std::int64_t, 6> out;
  std::int64_t channels() const { return out[0] + out[2] + out[4] + out[5]; }
};

struct Mixed {
  std::array<Unit, 6> units;
  Mixed(const Scope& scope, std::int64_t in, const MixedShape& shape, std::int64_t divisor) {
    const auto out = [&](std::size_t i) { return shape.out[i] / divisor; };
    units = {Unit(scope / "b0", in, out(0), 1),      Unit(scope / "b1a", in, out(1), 1),
             Unit(scope / "b1b", out(1), out(2), 3), Unit(scope / "b2a", in, out(3), 1),
             Unit(scope / "b2b", out(3), out(4), 3), Unit(scope / "b3b", in, out(5), 1)};
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return at::cat(
        {units[0](x), units[2](units[1](x)), units[4](units[3](x)), units[5](pooled(x, {3, 3, 3}, {1, 1, 1}))}, 1);
  }
};

constexpr std::array<MixedShape, 9> kMixed{{{"mixed_3b", {64, 96, 128, 16, 32, 32}},
                                            {"mixed_3c", {128, 128, 192, 32, 96, 64}},
                                            {"mixed_4b", {192, 96, 208, 16, 48, 64}},
                                            {"mixed_4c", {160, 112, 224, 24, 64, 64}},
                                            {"mixed_4d", {128, 128, 256, 24, 64, 64}},
                                            {"mixed_4e", {112, 144, 288, 32, 64, 64}},
                                            {"mixed_4f", {256, 160, 320, 32, 128, 128}},
                                            {"mixed_5b", {256, 160, 320, 32, 128, 128}},
                                            {"mixed_5c", {384, 192, 384, 48, 128, 128}}}};

}  // namespace

struct I3d::Layers {
  explicit Layers(const I3dShape& own) : shape(own), parameters(0) {
    const Scope scope(parameters);
    conv_1a = Unit(scope / "conv_1a", 3, 64 / own.divisor, 7, 2);
    conv_2b = Unit(scope / "conv_2b", 64 / own.divisor, 64 / own.divisor, 1);
    conv_2c = Unit(scope / "conv_2c", 64 / own.divisor, 192 / own.divisor, 3);
    std::int64_t channels = 192 / own.divisor;
    for (const MixedShape& one : kMixed) {
      mixed.emplace_back(scope / one.name, channels, one, own.divisor);
      channels = one.channels() / own.divisor;
    }
    logits = Unit(scope / "logits", channels, own.classes, 1);
  }
  I3dShape shape;
  Parameters parameters;
  Unit conv_1a, conv_2b, conv_2c, logits;
  std::vector<Mixed> mixed{};
};

I3d::I3d(const I3dShape& shape) : layers_(std::make_unique<Layers>(shape)) {}
I3d::~I3d() = default;

const Parameters& I3d::parameters() const {
  return layers_->parameters;
}

at::Tensor I3d::logits(const at::Tensor& x_NCTHW) const {
  const c10::NoGradGuard no_grad;
  const Layers& own = *layers_;
  at::Tensor x = pooled(own.conv_1a(x_NCTHW), {1, 3, 3}, {1, 2, 2});
  x = pooled(own.conv_2c(own.conv_2b(x)), {1, 3, 3}, {1, 2, 2});
  for (std::size_t i = 0; i < own.mixed.size(); ++i) {
    if (i == 2) x = pooled(x, {3, 3, 3}, {2, 2, 2});
    if (i == 7) x = pooled(x, {2, 2, 2}, {2, 2, 2});
    x = own.mixed[i](x);
  }
  const std::int64_t side = own.shape.pool_side;
  if (x.size(2) < 2 || x.size(3) < side || x.size(4) < side)
    throw DataError(concat("i3d: needs clips of at least 9 frames and ", 32 * (side - 1) + 1, " pixels a side, got ",
                           x_NCTHW.sizes(), "."));
  x = at::avg_pool3d(x, {2, side, side}, {1, 1, 1});
  return at::conv3d(x, own.logits.weight, own.logits.bias).mean({2, 3, 4});
}

at::Tensor i3d_input(const at::Tensor& raw_NCTHW, std::int64_t side) {
  const std::int64_t n = raw_NCTHW.size(0), c = raw_NCTHW.size(1), t = raw_NCTHW.size(2);
  const at::Tensor frames = raw_NCTHW.transpose(1, 2).reshape({n * t, c, raw_NCTHW.size(3), raw_NCTHW.size(4)});
  at::Tensor x = at::upsample_bilinear2d(frames.to(at::kFloat), {side, side}, false) / 127.5 - 1.0;
  return x.expand({n * t, 3, side, side}).reshape({n, t, 3, side, side}).transpose(1, 2).contiguous();
}

std::shared_ptr<const I3d> open_i3d(const std::filesystem::path& path) {
  auto network = std::make_shared<I3d>();
  assign(network->parameters().all(), load_tensors(path).tensors, path.string());
  return network;
}

}  // namespace thaw::video
