#include "modalities/media/gif_palette.h"

#include <array>
#include <unordered_map>

namespace thaw {

namespace {

constexpr std::size_t kColours = 256;
constexpr std::array<int, 3> kSteps{6, 7, 6};
constexpr int kBayerSide = 4;
constexpr std::array<int, 16> kBayer{0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5};

using Colours = std::unordered_map<std::uint32_t, std::uint8_t>;

std::uint32_t argb(const std::uint8_t* pixel, int channels) {
  return 0xff000000U | static_cast<std::uint32_t>(pixel[0]) << 16U |
         static_cast<std::uint32_t>(pixel[channels / 2]) << 8U | pixel[channels - 1];
}

/// Numbers for the colours of a frame in the order met; false where there are too many.
bool number_colours(const std::uint8_t* pixels, std::int64_t count, int channels, Colours& colours) {
  for (std::int64_t i = 0; i < count; ++i) {
    colours.try_emplace(argb(pixels + i * channels, channels), static_cast<std::uint8_t>(colours.size()));
    if (colours.size() > kColours) return false;
  }
  return true;
}

}  // namespace

GifPalette::GifPalette(const Clip& clip) : channels_(clip.channels) {
  const std::int64_t size = static_cast<std::int64_t>(clip.width) * clip.height;
  for (std::int64_t i = 0; i < clip.frames() && is_exact_; ++i) {
    Colours colours;
    is_exact_ = number_colours(clip.pixels.data() + i * size * clip.channels, size, clip.channels, colours);
  }
}

void GifPalette::fill(const std::uint8_t* pixels, AVFrame& frame) const {
  auto* palette = reinterpret_cast<std::uint32_t*>(frame.data[1]);
  std::fill_n(palette, kColours, 0xff000000U);
  Colours colours;
  if (is_exact_) {
    number_colours(pixels, static_cast<std::int64_t>(frame.width) * frame.height, channels_, colours);
    for (const auto& [colour, index] : colours) palette[index] = colour;
  } else {
    std::size_t index = 0;
    for (int r = 0; r < kSteps[0]; ++r)
      for (int g = 0; g < kSteps[1]; ++g)
        for (int b = 0; b < kSteps[2]; ++b)
          palette[index++] = 0xff000000U | static_cast<std::uint32_t>(r * 255 / (kSteps[0] - 1)) << 16U |
                             static_cast<std::uint32_t>(g * 255 / (kSteps[1] - 1)) << 8U |
                             static_cast<std::uint32_t>(b * 255 / (kSteps[2] - 1));
  }
  for (int y = 0; y < frame.height; ++y) {
    std::uint8_t* to = frame.data[0] + static_cast<std::ptrdiff_t>(y) * frame.linesize[0];
    for (int x = 0; x < frame.width; ++x, pixels += channels_) {
      if (is_exact_) {
        to[x] = colours.at(argb(pixels, channels_));
        continue;
      }
      const int threshold = kBayer[static_cast<std::size_t>(y % kBayerSide * kBayerSide + x % kBayerSide)];
      const std::array<int, 3> rgb{pixels[0], pixels[channels_ / 2], pixels[channels_ - 1]};
      int index = 0;
      for (std::size_t i = 0; i < 3; ++i)  // between two steps, the share of the upper one in 16ths
        index = index * kSteps[i] + (rgb[i] * (kSteps[i] - 1) * 16 / 255 + threshold) / 16;
      to[x] = static_cast<std::uint8_t>(index);
    }
  }
}

}  // namespace thaw
