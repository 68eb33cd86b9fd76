#pragma once
// Clips whose frames say which they are.

#include <cstdint>
#include <vector>

#include "modalities/media/video_file.h"

namespace thaw::testing {

// A frame's number in two large blocks of gray, sixteen levels each: legible after compression.
inline constexpr int kLevels = 16;

inline Clip numbered_clip(int width, int height, std::int64_t frames, int channels = 3) {
  Clip clip{width, height, channels};
  for (std::int64_t t = 0; t < frames; ++t) {
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width * channels; ++x) {
        const std::int64_t part = x < width * channels / 2 ? t % kLevels : t / kLevels;
        clip.pixels.push_back(static_cast<std::uint8_t>(8 + 16 * part));
      }
    clip.times_s.push_back(0.0);
  }
  return clip;
}

inline std::int64_t number_of(const Clip& clip, std::int64_t frame) {
  const auto level = [&](int x) {
    const std::int64_t pixel = (frame * clip.height + clip.height / 2) * clip.width + x;
    return clip.pixels[static_cast<std::size_t>(pixel * clip.channels)] / 16;
  };
  return level(clip.width / 4) + kLevels * level(3 * clip.width / 4);
}

inline std::vector<std::int64_t> numbers_of(const Clip& clip) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t t = 0; t < clip.frames(); ++t) numbers.push_back(number_of(clip, t));
  return numbers;
}

}  // namespace thaw::testing
