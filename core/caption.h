#pragma once
// Texts as conditions: "caption" uint8 [N, B], a row each; a row of zeros is the empty text, and the null of guidance.

#include <cstdint>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

namespace thaw {

/// UTF-8 as uint8 [length], zeros behind its end. Throws ConfigError when it is longer or holds a zero.
at::Tensor text_bytes(std::string_view text, std::int64_t length);
/// Of one row; bytes behind the first zero count as none.
std::string text_of(const at::Tensor& bytes_B);

}  // namespace thaw
