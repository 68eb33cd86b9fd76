#include "modalities/video/digit_reader.h"

#include <limits>

#include <ATen/ATen.h>

namespace thaw::video {

namespace {

constexpr double kInk = 64.0;        // of 255
constexpr double kLeastInk = 255.0;  // in all of a frame: one white pixel

// [N, T, H, W]
at::Tensor ink_of(const at::Tensor& raw_NCTHW) {
  const at::Tensor bright = raw_NCTHW.select(1, 0).to(at::kFloat);
  return at::where(bright > kInk, bright, at::zeros({}, at::kFloat));
}

}  // namespace

at::Tensor digit_centres(const at::Tensor& raw_NCTHW) {
  const at::Tensor ink = ink_of(raw_NCTHW).to(at::kDouble);
  const at::Tensor mass = ink.sum({2, 3});
  const at::Tensor across = at::arange(ink.size(3), at::kDouble) + 0.5;
  const at::Tensor down = at::arange(ink.size(2), at::kDouble) + 0.5;
  const at::Tensor centres = at::stack({(ink.sum(2) * across).sum(2) / mass, (ink.sum(3) * down).sum(2) / mass}, 2);
  return at::where((mass >= kLeastInk).unsqueeze(2), centres,
                   at::full({}, std::numeric_limits<double>::quiet_NaN(), at::kDouble));
}

at::Tensor digit_pictures(const at::Tensor& raw_NCTHW, const at::Tensor& centres_NT2, std::int64_t digit_side,
                          std::int64_t side) {
  const std::int64_t n = raw_NCTHW.size(0), t = raw_NCTHW.size(2), h = raw_NCTHW.size(3), w = raw_NCTHW.size(4);
  const at::Tensor frames = raw_NCTHW.select(1, 0).reshape({n * t, 1, h, w}).to(at::kFloat);
  const at::Tensor centres = at::nan_to_num(centres_NT2, 0.0).reshape({n * t, 2}).to(at::kFloat);
  const double scale = static_cast<double>(digit_side) / static_cast<double>(side);
  const at::Tensor offsets = (at::arange(side, at::kFloat) + 0.5 - 0.5 * static_cast<double>(side)) * scale;
  // grid_sample's coordinates: -1 and 1 are the outer edges of the frame.
  const at::Tensor x = (centres.select(1, 0).unsqueeze(1) + offsets) * (2.0 / static_cast<double>(w)) - 1;
  const at::Tensor y = (centres.select(1, 1).unsqueeze(1) + offsets) * (2.0 / static_cast<double>(h)) - 1;
  const at::Tensor grid =
      at::stack({x.unsqueeze(1).expand({n * t, side, side}), y.unsqueeze(2).expand({n * t, side, side})}, 3);
  constexpr int kBicubic = 2, kZeros = 0;
  return at::grid_sampler(frames, grid, kBicubic, kZeros, false).round().clamp(0, 255).to(at::kByte);
}

at::Tensor digit_classes(const at::Tensor& raw_NCTHW, std::int64_t digit_side, const TrainedClassifier& judge) {
  const at::Tensor centres = digit_centres(raw_NCTHW);
  const std::int64_t side = judge.model->spec.shape.back();
  const at::Tensor named = judge.classes(digit_pictures(raw_NCTHW, centres, digit_side, side))
                               .reshape({raw_NCTHW.size(0), raw_NCTHW.size(2)});
  return at::where(centres.select(2, 0).isnan(), at::full({}, -1, at::kLong), named);
}

}  // namespace thaw::video
