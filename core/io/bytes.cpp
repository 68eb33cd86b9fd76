#include "core/io/bytes.h"

#include <array>
#include <limits>

#include <zlib.h>

#include "core/base/text.h"

namespace thaw {

std::string printable(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr std::size_t kLongest = 200;
  std::string out;
  for (const char character : text.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte < 0x7f)
      out += character;
    else
      out += concat("\\x", kHex[byte >> 4], kHex[byte & 15]);
  }
  if (text.size() > kLongest) out += "...";
  return out;
}

std::string quoted_name(std::string_view text) {
  return concat('"', printable(text), '"');
}

std::uint32_t crc32_of(std::span<const std::byte> bytes, std::uint32_t crc) {
  if (bytes.empty()) return crc;  // zlib takes a null pointer for a request to start anew
  return static_cast<std::uint32_t>(crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

bool checked_bytes(std::span<const std::int64_t> shape, std::uint64_t item_bytes, std::uint64_t& bytes) {
  bytes = item_bytes;
  for (const std::int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes)) return false;
  return bytes <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += concat(i > 0 ? ", " : "", shape[i]);
  return text + "]";
}

}  // namespace thaw
