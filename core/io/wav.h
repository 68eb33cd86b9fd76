#pragma once
// WAV files (RIFF/WAVE), written and read without any library, so that builds without libsndfile hear and play.

#include <cstdint>
#include <span>
#include <string>

namespace thaw {

struct WavFormat {
  std::int64_t channels = 1;
  std::int64_t rate_hz = 16000;
};

/// 16-bit PCM of interleaved samples in [-1, 1]: round(32767 x). Throws std::invalid_argument for a sample outside or
/// not finite: whoever writes decides first what becomes of it.
std::string encode_wav(std::span<const float> interleaved, WavFormat format);

}  // namespace thaw
