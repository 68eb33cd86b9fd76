#pragma once
// A PNG writer for 8-bit pictures: samples can be looked at without any media library.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace thaw {

/// `pixels_HWC`: width * height * channels bytes, rows from the top; channels 1 (gray) or 3 (RGB; one
/// byte a pixel where there are at most 256 colours).
/// Throws Error (a bug) when the sizes do not fit each other.
std::string encode_png(std::span<const std::uint8_t> pixels_HWC, int width, int height, int channels);

/// Frames that a browser plays without end; readers of plain PNG see the first one.
struct PngAnimation {
  std::int64_t frames = 1;
  int width = 0, height = 0, channels = 1;
  std::uint16_t delay_ms = 125;  // of each frame
};
/// PNG specification, third edition, 11.3.6 (animation). pixels: frames * height * width * channels bytes.
std::string encode_animated_png(std::span<const std::uint8_t> pixels_THWC, const PngAnimation& animation);

/// encode_png, written atomically.
void write_png(const std::filesystem::path& path, std::span<const std::uint8_t> pixels_HWC, int width, int height,
               int channels);

}  // namespace thaw
