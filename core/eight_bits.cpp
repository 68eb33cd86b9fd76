#include "core/eight_bits.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/io/png.h"

namespace thaw {

namespace {

constexpr double kHalfRange = 127.5;

}  // namespace

at::Tensor from_eight_bits(const at::Tensor& raw) {
  return raw.to(at::kFloat) / kHalfRange - 1.0;
}

at::Tensor to_eight_bits(const at::Tensor& x) {
  return ((x.detach().to(at::kCPU, at::kFloat) + 1.0) * kHalfRange).round().clamp(0, 255).to(at::kByte);
}

std::string png_of_picture(const at::Tensor& pixels_CHW) {
  const at::Tensor hwc = pixels_CHW.permute({1, 2, 0}).contiguous();
  return encode_png({hwc.data_ptr<std::uint8_t>(), static_cast<std::size_t>(hwc.numel())},
                    static_cast<int>(hwc.size(1)), static_cast<int>(hwc.size(0)), static_cast<int>(hwc.size(2)));
}

at::Tensor sheet_pixels(const at::Tensor& pixels_NCHW, std::int64_t columns) {
  constexpr std::int64_t kGap = 2;
  constexpr int kGapValue = 96;
  const std::int64_t n = pixels_NCHW.size(0), c = pixels_NCHW.size(1), h = pixels_NCHW.size(2), w = pixels_NCHW.size(3);
  columns = std::min(columns, n);
  const std::int64_t rows = (n + columns - 1) / columns;
  at::Tensor sheet = at::full({c, rows * (h + kGap) - kGap, columns * (w + kGap) - kGap}, kGapValue, at::kByte);
  for (std::int64_t i = 0; i < n; ++i)
    sheet.narrow(1, (i / columns) * (h + kGap), h).narrow(2, (i % columns) * (w + kGap), w).copy_(pixels_NCHW[i]);
  return sheet;
}

std::string sheet_of_pictures(const at::Tensor& pixels_NCHW, std::int64_t columns) {
  return png_of_picture(sheet_pixels(pixels_NCHW, columns));
}

std::string padded(std::int64_t number) {
  constexpr std::size_t kDigits = 6;
  std::string text = std::to_string(number);
  return text.insert(0, kDigits - std::min(kDigits, text.size()), '0');
}

}  // namespace thaw
