#include "core/io/inflate.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <zlib.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

struct Inflater::State {
  z_stream stream{};
  std::span<const std::byte> packed;  // what zlib has not been given yet
  bool is_gzip = false;
  bool is_done = false;

  /// zlib counts input in 32 bits.
  void refill() {
    if (stream.avail_in > 0 || packed.empty()) return;
    const std::size_t piece = std::min<std::size_t>(packed.size(), std::size_t{1} << 30);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
    stream.avail_in = static_cast<uInt>(piece);
    packed = packed.subspan(piece);
  }

  bool has_input() const { return stream.avail_in > 0 || !packed.empty(); }
};

Inflater::Inflater(std::span<const std::byte> packed, Compression compression, std::string where)
    : state_(std::make_unique<State>()), where_(std::move(where)) {
  state_->packed = packed;
  state_->is_gzip = compression == Compression::kGzip;
  // zlib's window parameter also chooses the wrapping.
  const int window = compression == Compression::kDeflate ? -15 : compression == Compression::kZlib ? 15 : 15 + 16;
  if (inflateInit2(&state_->stream, window) != Z_OK)
    throw ResourceError(concat(where_, ": out of memory for decompression"));
}

Inflater::~Inflater() {
  inflateEnd(&state_->stream);
}

std::size_t Inflater::read(std::span<std::uint8_t> out) {
  State& state = *state_;
  const std::size_t wanted = std::min<std::size_t>(out.size(), std::numeric_limits<uInt>::max());
  state.stream.next_out = out.data();
  state.stream.avail_out = static_cast<uInt>(wanted);
  while (state.stream.avail_out > 0 && !state.is_done) {
    state.refill();
    const int result = inflate(&state.stream, Z_NO_FLUSH);
    if (result == Z_STREAM_END) {
      state.refill();
      // gzip files may be concatenated; anything but a further member is left for expect_end to refuse.
      constexpr Bytef kGzipMagic = 0x1f;
      const bool goes_on = state.is_gzip && state.stream.avail_in > 0 && *state.stream.next_in == kGzipMagic;
      if (goes_on)
        inflateReset(&state.stream);
      else
        state.is_done = true;
    } else if (result == Z_BUF_ERROR && !state.has_input()) {
      throw DataError(concat(where_, ": compressed data is cut off"));
    } else if (result != Z_OK) {
      throw DataError(concat(
          where_, ": compressed data is damaged: ", state.stream.msg != nullptr ? state.stream.msg : "unknown error"));
    }
  }
  return wanted - state.stream.avail_out;
}

void Inflater::take(std::uint64_t count, std::vector<std::uint8_t>& out) {
  constexpr std::uint64_t kPiece = std::uint64_t{1} << 20;
  for (std::uint64_t left = count; left > 0;) {
    const auto piece = static_cast<std::size_t>(std::min(left, kPiece));
    const std::size_t start = out.size();
    out.resize(start + piece);
    const std::size_t got = read(std::span(out).subspan(start));
    if (got < piece)
      throw DataError(concat(where_, ": decompresses to ", count - left + got, " bytes here, expected ", count));
    left -= piece;
  }
}

void Inflater::expect_end() {
  std::array<std::uint8_t, 1> extra;
  if (read(extra) > 0) throw DataError(concat(where_, ": decompresses to more bytes than its header says"));
  if (state_->has_input())
    throw DataError(concat(where_, ": ", state_->stream.avail_in + state_->packed.size(),
                           " bytes after the end of the compressed data"));
}

}  // namespace thaw
