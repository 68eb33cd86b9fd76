#include "core/io/wav.h"

#include <cmath>
#include <stdexcept>

#include "core/base/text.h"
#include "core/io/bytes.h"

namespace thaw {

// Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0", 1991: chunks RIFF, fmt, data.
std::string encode_wav(std::span<const float> interleaved, WavFormat format) {
  constexpr std::uint64_t kHeader = 44;
  constexpr std::uint16_t kPcm = 1, kBytes = 2;
  const std::uint64_t data = interleaved.size() * kBytes;
  if (data > 0xffffffffu - kHeader) throw std::invalid_argument("encode_wav: more than 4 GiB");
  const auto channels = static_cast<std::uint16_t>(format.channels);
  const auto frame = static_cast<std::uint16_t>(channels * kBytes);
  const auto rate = static_cast<std::uint32_t>(format.rate_hz);
  std::string out = "RIFF";
  out.reserve(data + kHeader);
  append_le(out, static_cast<std::uint32_t>(data + kHeader - 8));
  out += "WAVEfmt ";
  append_le(out, std::uint32_t{16});
  append_le(out, kPcm);
  append_le(out, channels);
  append_le(out, rate);
  append_le(out, rate * frame);
  append_le(out, frame);
  append_le(out, std::uint16_t{8 * kBytes});
  out += "data";
  append_le(out, static_cast<std::uint32_t>(data));
  for (const float x : interleaved) {
    if (!(std::abs(x) <= 1.0F)) throw std::invalid_argument(concat("encode_wav: sample ", x, " is outside [-1, 1]"));
    append_le(out, static_cast<std::uint16_t>(static_cast<std::int16_t>(std::lround(32767.0F * x))));
  }
  return out;
}

}  // namespace thaw
