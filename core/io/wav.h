#pragma once
// WAV files (RIFF/WAVE), written and read without any library, so that builds without libsndfile hear and play.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace thaw {

struct WavFormat {
  std::int64_t channels = 1;
  std::int64_t rate_hz = 16000;
};

/// 16-bit PCM of interleaved samples in [-1, 1]: round(32767 x). Throws std::invalid_argument for a sample outside or
/// not finite: whoever writes decides first what becomes of it.
std::string encode_wav(std::span<const float> interleaved, WavFormat format);

/// Bounds of what is read as sound, here and by the libraries.
constexpr std::int64_t kMostSoundChannels = 64, kLeastSoundHz = 1000, kMostSoundHz = 384'000;

/// Throws DataError "where: cannot read: ..." for channels and rates outside of the bounds.
void expect_sound_format(const WavFormat& format, const std::string& where);

struct WavHeader {
  WavFormat format{};
  int bits = 16;  // of a sample: 8, 16, 24, 32, of floating ones 32 or 64
  bool is_float = false;
  std::size_t data_begin = 0;
  std::int64_t num_samples = 0;  // a channel, all of them within the file
};

/// PCM of 8 (unsigned), 16, 24 and 32 bits and IEEE floats, also as WAVE_FORMAT_EXTENSIBLE. `file` is the whole file;
/// nothing is allocated. A data chunk that claims more than there is counts as truncated, except for the sizes that
/// programs write into pipes (2^31 - 4096 and more): those mean "to the end". Throws DataError "where: cannot read:
/// ..." for that, for other codings and for what is no WAV.
WavHeader parse_wav_header(std::span<const std::byte> file, const std::string& where);

/// `count` samples a channel from `first`, fewer where the sound ends; interleaved, integers over 2^(bits - 1), as
/// libsndfile scales them. Throws DataError for a sample that is not finite, with its place.
std::vector<float> decode_wav(std::span<const std::byte> file, const WavHeader& header, std::int64_t first,
                              std::int64_t count, const std::string& where);

/// Throws DataError where `file` is a RIFF/WAVE whose data chunk is cut short; says nothing of other formats and
/// codings.
void expect_whole_wav(std::span<const std::byte> file, const std::string& where);

/// Throws DataError "where: cannot read: sample ... is nan" for the first that is not finite; `first` is the place of
/// the first of them in the sound.
void expect_finite_samples(std::span<const float> interleaved, const WavFormat& format, std::int64_t first,
                           const std::string& where);

}  // namespace thaw
