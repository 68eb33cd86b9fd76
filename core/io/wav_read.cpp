// Microsoft, "Multiple channel audio data and WAVE files", 2001: WAVEFORMATEXTENSIBLE; the rest as wav.cpp.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/wav.h"

namespace thaw {

namespace {

constexpr std::uint16_t kPcm = 1, kIeeeFloat = 3, kExtensible = 0xFFFE;
constexpr std::size_t kChunkHeader = 8, kPlainFormat = 16, kExtensibleFormat = 40;
constexpr std::uint32_t kLeastPipeSize = 0x7FFFF000;
// The tail that Microsoft's sub-format GUIDs share, behind the 16 bits of the coding.
constexpr std::array<std::uint8_t, 14> kGuidTail{0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71};

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw DataError(concat(where, ": cannot read: ", what));
}

bool is_riff_wave(std::span<const std::byte> file) {
  const std::string_view text = text_of(file);
  return text.substr(0, 4) == "RIFF" && text.size() >= 12 && text.substr(8, 4) == "WAVE";
}

struct Chunk {
  std::size_t begin = 0;
  std::uint32_t size = 0;  // as it claims
};

// The first chunk of this name from `at` on; false where the file ends before.
bool find_chunk(std::span<const std::byte> file, std::string_view name, std::size_t at, Chunk& found) {
  while (at + kChunkHeader <= file.size()) {
    const std::string_view id = text_of(file.subspan(at, 4));
    const auto size = load_le<std::uint32_t>(file, at + 4);
    at += kChunkHeader;
    if (id == name) {
      found = {at, size};
      return true;
    }
    at += static_cast<std::size_t>(size) + size % 2;
  }
  return false;
}

// Bytes of the data chunk that are there.
std::size_t data_size(std::span<const std::byte> file, const Chunk& data, const std::string& where) {
  const std::size_t here = file.size() - data.begin;
  if (data.size <= here) return data.size;
  if (data.size >= kLeastPipeSize) return here;
  refuse(where, concat("truncated: its header speaks of ", data.size, " bytes of sound, and there are ", here));
}

void take_format(std::span<const std::byte> chunk, WavHeader& header, const std::string& where) {
  auto coding = load_le<std::uint16_t>(chunk, 0);
  header.format = {load_le<std::uint16_t>(chunk, 2), static_cast<std::int64_t>(load_le<std::uint32_t>(chunk, 4))};
  header.bits = load_le<std::uint16_t>(chunk, 14);
  if (coding == kExtensible) {
    if (chunk.size() < kExtensibleFormat) refuse(where, "the extended format is cut short");
    const bool is_known = std::ranges::equal(chunk.subspan(26, kGuidTail.size()), std::as_bytes(std::span(kGuidTail)));
    coding = is_known ? load_le<std::uint16_t>(chunk, 24) : std::uint16_t{0};
  }
  header.is_float = coding == kIeeeFloat;
  const int bits = header.bits;
  const bool is_taken = header.is_float  ? bits == 32 || bits == 64
                        : coding == kPcm ? bits == 8 || bits == 16 || bits == 24 || bits == 32
                                         : false;
  if (!is_taken)
    refuse(where, concat("WAV of coding ", coding, " with ", bits,
                         " bits; known are PCM of 8, 16, 24 and 32 bits, and floats of 32 and 64"));
  expect_sound_format(header.format, where);
  const std::int64_t frame = header.format.channels * bits / 8;
  if (load_le<std::uint16_t>(chunk, 12) != frame)
    refuse(where, concat("its header says ", load_le<std::uint16_t>(chunk, 12), " bytes a moment, and ",
                         header.format.channels, " channels of ", bits, " bits take ", frame));
}

template <std::size_t kBytes>
void decode_integers(const std::byte* from, std::span<float> to) {
  // Shifted to the top of 32 bits, so that the sign is that of the machine's integer.
  constexpr int kShift = 32 - 8 * static_cast<int>(kBytes);
  for (float& x : to) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, from, kBytes);
    x = static_cast<float>(static_cast<std::int32_t>(bits << kShift)) * 0x1p-31F;
    from += kBytes;
  }
}

template <class T>
void decode_floats(const std::byte* from, std::span<float> to) {
  for (float& x : to) {
    T value;
    std::memcpy(&value, from, sizeof value);
    x = static_cast<float>(value);
    from += sizeof value;
  }
}

}  // namespace

void expect_sound_format(const WavFormat& format, const std::string& where) {
  if (format.channels < 1 || format.channels > kMostSoundChannels)
    refuse(where, concat("a sound of ", format.channels, " channels; 1 to ", kMostSoundChannels, " are taken"));
  if (format.rate_hz < kLeastSoundHz || format.rate_hz > kMostSoundHz)
    refuse(where, concat("a sound of ", format.rate_hz, " samples a second; ", kLeastSoundHz, " to ", kMostSoundHz,
                         " are taken"));
}

void expect_finite_samples(std::span<const float> interleaved, const WavFormat& format, std::int64_t first,
                           const std::string& where) {
  bool is_bad = false;
  for (const float x : interleaved) is_bad |= !(std::abs(x) <= std::numeric_limits<float>::max());
  if (!is_bad) return;
  const auto bad = std::ranges::find_if(interleaved, [](float x) { return !std::isfinite(x); });
  const std::int64_t at = first + (bad - interleaved.begin()) / format.channels;
  refuse(where, concat("sample ", at, " (", format_short(static_cast<double>(at) / static_cast<double>(format.rate_hz)),
                       " s) is ", *bad));
}

void expect_whole_wav(std::span<const std::byte> file, const std::string& where) {
  Chunk data;
  if (is_riff_wave(file) && find_chunk(file, "data", 12, data)) data_size(file, data, where);
}

WavHeader parse_wav_header(std::span<const std::byte> file, const std::string& where) {
  if (!is_riff_wave(file)) refuse(where, "it is no WAV file");
  Chunk chunk;
  if (!find_chunk(file, "fmt ", 12, chunk) || chunk.size < kPlainFormat || chunk.size > file.size() - chunk.begin)
    refuse(where, "a WAV file without its format");
  WavHeader header;
  take_format(file.subspan(chunk.begin, chunk.size), header, where);
  if (!find_chunk(file, "data", chunk.begin + chunk.size + chunk.size % 2, chunk))
    refuse(where, "a WAV file without sound");
  header.data_begin = chunk.begin;
  header.num_samples =
      static_cast<std::int64_t>(data_size(file, chunk, where)) / (header.format.channels * header.bits / 8);
  if (header.num_samples == 0) refuse(where, "a sound without samples");
  return header;
}

std::vector<float> decode_wav(std::span<const std::byte> file, const WavHeader& header, std::int64_t first,
                              std::int64_t count, const std::string& where) {
  first = std::clamp<std::int64_t>(first, 0, header.num_samples);
  count = std::clamp<std::int64_t>(count, 0, header.num_samples - first);
  const std::int64_t channels = header.format.channels, bytes = header.bits / 8;
  std::vector<float> samples(static_cast<std::size_t>(count * channels));
  const std::byte* from = file.data() + header.data_begin + first * channels * bytes;
  if (header.is_float) {
    bytes == 4 ? decode_floats<float>(from, samples) : decode_floats<double>(from, samples);
    expect_finite_samples(samples, header.format, first, where);
    return samples;
  }
  switch (bytes) {
    case 1:  // the only width without a sign
      std::transform(from, from + samples.size(), samples.begin(),
                     [](std::byte b) { return static_cast<float>(static_cast<int>(b) - 128) / 128.0F; });
      break;
    case 2:
      decode_integers<2>(from, samples);
      break;
    case 3:
      decode_integers<3>(from, samples);
      break;
    default:
      decode_integers<4>(from, samples);
  }
  return samples;
}

}  // namespace thaw
