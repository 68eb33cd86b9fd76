#include "core/metrics/similarity.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

constexpr std::int64_t kWindow = 11;
constexpr double kWindowSigma = 1.5;
constexpr double kLuminance = 0.01 * 0.01, kContrast = 0.03 * 0.03;  // (K1 L)^2 and (K2 L)^2 at the range L = 1
constexpr double kLeastError = 1e-12;                                // mean squared: 120 dB

// [N, K, C, H, W] in double.
at::Tensor as_pictures(const at::Tensor& x) {
  const std::int64_t n = x.size(0), c = x.size(1), h = x.size(-2), w = x.size(-1);
  return x.to(at::kDouble).reshape({n, c, -1, h, w}).transpose(1, 2);
}

void expect_pairs(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes())
    throw DataError(concat("pairs of pictures must have one shape, got ", a.sizes(), " and ", b.sizes(), "."));
  if (a.dim() < 4)
    throw DataError(concat("expected pictures [samples, channels, ..., height, width], got ", a.sizes(), "."));
}

at::Tensor window() {
  const at::Tensor place = at::arange(kWindow, at::kDouble) - static_cast<double>(kWindow / 2);
  const at::Tensor weight = (-0.5 * (place / kWindowSigma).square()).exp();
  return weight / weight.sum();
}

// The weighted means of all windows inside pictures [P, 1, H, W].
at::Tensor means(const at::Tensor& x, const at::Tensor& weights) {
  return at::conv2d(at::conv2d(x, weights.view({1, 1, kWindow, 1})), weights.view({1, 1, 1, kWindow}));
}

}  // namespace

at::Tensor peak_signal_to_noise(const at::Tensor& a, const at::Tensor& b) {
  expect_pairs(a, b);
  const at::Tensor error = (as_pictures(a) - as_pictures(b)).square().mean({2, 3, 4});
  return -10 * error.clamp_min(kLeastError).log10();
}

at::Tensor structural_similarity(const at::Tensor& a, const at::Tensor& b) {
  expect_pairs(a, b);
  if (a.size(-1) < kWindow || a.size(-2) < kWindow)
    throw DataError(concat("ssim: the window of ", kWindow, " pixels does not fit pictures of ", a.sizes(), "."));
  const at::Tensor x = as_pictures(a), y = as_pictures(b), weights = window();
  const auto mean_of = [&](const at::Tensor& values) { return means(values.flatten(0, 2).unsqueeze(1), weights); };
  const at::Tensor mean_x = mean_of(x), mean_y = mean_of(y);
  const at::Tensor variances = mean_of(x * x + y * y) - mean_x.square() - mean_y.square();
  const at::Tensor covariance = mean_of(x * y) - mean_x * mean_y;
  const at::Tensor similarity = (2 * mean_x * mean_y + kLuminance) * (2 * covariance + kContrast) /
                                ((mean_x.square() + mean_y.square() + kLuminance) * (variances + kContrast));
  return similarity.flatten(1).mean(1).view({x.size(0), x.size(1), x.size(2)}).mean(2);
}

}  // namespace thaw
