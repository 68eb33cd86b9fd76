#pragma once
// Decompression in bounded memory: output is taken piece by piece, so a small file cannot claim a large memory.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace thaw {

enum class Compression {
  kDeflate,  // raw, as in ZIP members
  kZlib,     // as in PNG
  kGzip,     // one member or several
};

/// DEFLATE cannot do better than 1032 bytes from one (two 1-bit codes for 258 bytes: zlib's own bound).
constexpr std::uint64_t kMaxInflateRatio = 1032;

/// Reads a compressed byte string from start to end. `where` begins the messages of the DataErrors it throws.
class Inflater {
 public:
  Inflater(std::span<const std::byte> packed, Compression compression, std::string where);
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Fills the start of `out`; fewer bytes than asked mean the end.
  std::size_t read(std::span<std::uint8_t> out);

  /// Appends exactly `count` bytes to `out`, which grows as they arrive. DataError when the data ends before.
  void take(std::uint64_t count, std::vector<std::uint8_t>& out);

  /// DataError unless all output was taken and no input is left.
  void expect_end();

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::string where_;
};

}  // namespace thaw
