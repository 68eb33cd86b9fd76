#include "modalities/images/published_bands.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

namespace thaw::image {

namespace {

template <class Each>
void over_bands(const RowSource& x, std::int64_t positions, const Each& each) {
  const std::int64_t step = std::max<std::int64_t>(positions / x.width, 1);
  for (std::int64_t begin = 0; begin < x.height; begin += step) {
    const std::int64_t end = std::min(begin + step, x.height);
    each(begin, end, x.rows(begin, end));
  }
}

}  // namespace

RowSource rows_of(at::Tensor x_NCHW) {
  RowSource out{x_NCHW.size(0), x_NCHW.size(1), x_NCHW.size(2), x_NCHW.size(3)};
  out.rows = [x = std::move(x_NCHW)](std::int64_t begin, std::int64_t end) { return x.narrow(2, begin, end - begin); };
  return out;
}

RowSource mapped(RowSource x, std::function<at::Tensor(const at::Tensor&)> each) {
  RowSource out = x;
  out.rows = [rows = std::move(x.rows), each = std::move(each)](std::int64_t begin, std::int64_t end) {
    return each(rows(begin, end));
  };
  return out;
}

RowSource doubled(RowSource x) {
  RowSource out = x;
  out.height *= 2;
  out.width *= 2;
  out.rows = [rows = std::move(x.rows), width = out.width](std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin / 2, last = (end + 1) / 2;
    const at::Tensor twice = at::upsample_nearest2d(rows(first, last), {2 * (last - first), width});
    return twice.narrow(2, begin - 2 * first, end - begin);
  };
  return out;
}

RowSource convolved(const nn::Conv2d& conv, RowSource x, bool pads_end) {
  const std::int64_t kernel = conv.weight.size(2), stride = conv.stride;
  const std::int64_t before = conv.padding, after = pads_end ? 1 : conv.padding;
  RowSource out = x;
  out.channels = conv.weight.size(0);
  out.height = (x.height + before + after - kernel) / stride + 1;
  out.width = (x.width + before + after - kernel) / stride + 1;
  out.rows = [conv, x = std::move(x), kernel, stride, before, after](std::int64_t begin, std::int64_t end) {
    // Rows of x that the kernel reaches; those beyond its edges are zeros.
    const std::int64_t first = begin * stride - before, last = (end - 1) * stride - before + kernel;
    const std::int64_t above = std::max<std::int64_t>(-first, 0), below = std::max<std::int64_t>(last - x.height, 0);
    at::Tensor band = x.rows(first + above, last - below);
    if (before + after > 0) band = at::constant_pad_nd(band, {before, after, above, below});
    return at::conv2d(band, conv.weight, conv.bias, stride);
  };
  return out;
}

RowSource normalised(const nn::GroupNorm& norm, RowSource x, std::int64_t positions) {
  const auto options = norm.weight.options().dtype(at::kDouble).requires_grad(false);
  at::Tensor sum = at::zeros({x.samples, norm.groups}, options), squares = at::zeros_like(sum);
  over_bands(x, positions, [&](std::int64_t, std::int64_t, const at::Tensor& band) {
    const at::Tensor values = band.reshape({x.samples, norm.groups, -1}).to(at::kDouble);
    sum += values.sum(2);
    squares += values.square().sum(2);
  });
  const auto count = static_cast<double>(x.channels / norm.groups * x.height * x.width);
  const at::Tensor mean = sum / count;
  const at::Tensor inverse = (squares / count - mean.square()).clamp_min(0.0).add(norm.epsilon).rsqrt();
  const auto by_channel = [&](const at::Tensor& each) { return each.repeat_interleave(x.channels / norm.groups, 1); };
  const at::Tensor factor = by_channel(inverse) * norm.weight;
  const at::Tensor term = norm.bias - by_channel(mean) * factor;
  const auto spread = [&](const at::Tensor& each) {
    return each.to(norm.weight.scalar_type()).unsqueeze(2).unsqueeze(3);
  };
  return mapped(std::move(x), [factor = spread(factor), term = spread(term)](const at::Tensor& band) {
    return at::addcmul(term, band, factor);
  });
}

at::Tensor computed(const RowSource& x, std::int64_t positions) {
  at::Tensor out;
  over_bands(x, positions, [&](std::int64_t begin, std::int64_t end, const at::Tensor& band) {
    if (!out.defined()) out = at::empty({x.samples, x.channels, x.height, x.width}, band.options());
    out.narrow(2, begin, end - begin).copy_(band);
  });
  return out;
}

at::Tensor banded(const Resnet& resnet, const RowSource& x, std::int64_t positions) {
  const auto active = [&](const nn::GroupNorm& norm, RowSource y) {
    return mapped(normalised(norm, std::move(y), positions), resnet.options.activation);
  };
  const RowSource h = rows_of(computed(convolved(resnet.conv1, active(resnet.norm1, x)), positions));
  const RowSource last = convolved(resnet.conv2, active(resnet.norm2, h));
  const RowSource around = resnet.shortcut ? convolved(*resnet.shortcut, x) : x;
  RowSource out = last;
  out.rows = [&](std::int64_t begin, std::int64_t end) {
    return last.rows(begin, end).add_(around.rows(begin, end)).div_(resnet.options.out_scale);
  };
  return computed(out, positions);
}

}  // namespace thaw::image
