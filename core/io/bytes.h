#pragma once
// Integers in byte strings, and names from files made safe to print.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace thaw {

/// The little-endian integer at `offset`, which the caller has checked. Baseline x86-64 is little-endian itself.
template <std::unsigned_integral T>
T load_le(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <std::unsigned_integral T>
void append_le(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// The big-endian 32-bit integer at `offset` (IDX, PNG).
inline std::uint32_t load_be32(std::span<const std::byte> bytes, std::size_t offset) {
  return __builtin_bswap32(load_le<std::uint32_t>(bytes, offset));
}

inline void append_be32(std::string& out, std::uint32_t value) {
  append_le(out, __builtin_bswap32(value));
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// `text` as it may be printed: control and non-ASCII bytes as \xNN, at most 200 characters. A file may choose its
/// tensor names, and a terminal obeys escape sequences.
std::string printable(std::string_view text);

/// The same in double quotes.
std::string quoted_name(std::string_view text);

/// CRC-32 of ZIP, gzip and PNG, continued from `crc` (0 at the start).
std::uint32_t crc32_of(std::span<const std::byte> bytes, std::uint32_t crc = 0);

/// Product of the sizes times `item_bytes`; false when it does not fit 63 bits or a size is negative.
bool checked_bytes(std::span<const std::int64_t> shape, std::uint64_t item_bytes, std::uint64_t& bytes);

/// "[2, 3]".
std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace thaw
