#include "core/caption.h"

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

at::Tensor text_bytes(std::string_view text, std::int64_t length) {
  if (static_cast<std::int64_t>(text.size()) > length || text.find('\0') != std::string_view::npos)
    throw ConfigError(concat("a text of ", text.size(), " bytes: expected at most ", length, ", none of them zero."));
  at::Tensor bytes = at::zeros({length}, at::kByte);
  std::memcpy(bytes.data_ptr<std::uint8_t>(), text.data(), text.size());
  return bytes;
}

std::string text_of(const at::Tensor& bytes_B) {
  const at::Tensor row = bytes_B.to(at::kCPU).contiguous();
  const auto* first = reinterpret_cast<const char*>(row.const_data_ptr<std::uint8_t>());
  return {first, std::find(first, first + row.numel(), '\0')};
}

}  // namespace thaw
