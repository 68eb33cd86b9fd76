#pragma once
// NumPy's .npy format: a strict reader (the header is never evaluated) and a writer.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thaw {

struct NpyArray {
  std::string descr;  // "|u1", "<i8", "<f4", ...: little-endian or single bytes, never objects
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> bytes;  // C order
};

struct NpyHeader {
  std::string descr;
  std::vector<std::int64_t> shape;
  bool is_fortran = false;       // as stored; the readers below turn arrays into C order
  std::size_t header_bytes = 0;  // where the data starts
  std::uint64_t data_bytes = 0;
};

/// Bytes of one element of "<f4" and the like, or 0 for what is refused (objects, records, big-endian).
std::uint64_t npy_item_bytes(std::string_view descr);

/// The most bytes a .npy header may take here (numpy's own limit is 10 000 for the text).
constexpr std::size_t kMaxNpyHeader = 10'012;

/// Parses the header at the start of `bytes`, which may end before the data. DataError "where: ...".
NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& where);

/// The header (version 1.0) of a C-order array, padded to 64 bytes as numpy writes it.
std::string npy_header(std::string_view descr, std::span<const std::int64_t> shape);

/// Turns stored data into C order.
NpyArray to_npy_array(const NpyHeader& header, std::vector<std::uint8_t> data);

NpyArray read_npy(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{1} << 32);
void write_npy(const std::filesystem::path& path, const NpyArray& array);

}  // namespace thaw
