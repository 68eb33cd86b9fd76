#pragma once
// A PNG writer for 8-bit pictures: samples can be looked at without any media library.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace thaw {

/// `pixels_HWC`: width * height * channels bytes, rows from the top; channels 1 (gray) or 3 (RGB).
/// Throws Error (a bug) when the sizes do not fit each other.
std::string encode_png(std::span<const std::uint8_t> pixels_HWC, int width, int height, int channels);

/// encode_png, written atomically.
void write_png(const std::filesystem::path& path, std::span<const std::uint8_t> pixels_HWC, int width, int height,
               int channels);

}  // namespace thaw
