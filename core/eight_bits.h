#pragma once
// Numbers of 8 bits <-> [-1, 1], of pictures and clips; and pictures side by side.

#include <string>

#include <ATen/core/Tensor.h>

namespace thaw {

/// Width of what one of 256 values stands for.
inline constexpr double kEightBitsBin = 1.0 / 127.5;

/// raw / 127.5 - 1, float32.
at::Tensor from_eight_bits(const at::Tensor& raw);
/// The nearest of 256 values, on the CPU: to_eight_bits(from_eight_bits(raw)) == raw exactly.
at::Tensor to_eight_bits(const at::Tensor& x);

/// uint8 [C, H, W], gray or RGB.
std::string png_of_picture(const at::Tensor& pixels_CHW);
/// uint8 [N, C, H, W] on one sheet, `columns` a row.
std::string sheet_of_pictures(const at::Tensor& pixels_NCHW, std::int64_t columns);
/// The same before it is a file: uint8 [C, H, W].
at::Tensor sheet_pixels(const at::Tensor& pixels_NCHW, std::int64_t columns);

/// A number for names of files that sort: 000042.
std::string padded(std::int64_t number);

}  // namespace thaw
