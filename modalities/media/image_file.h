#pragma once
// Pictures from and to PNG and JPEG files.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace thaw {

struct Image {
  int width = 0, height = 0;
  int channels = 0;                  // 1 gray, 3 RGB
  std::vector<std::uint8_t> pixels;  // HWC, rows from the top
};

/// Reads a PNG or JPEG, told apart by its first bytes. Gray stays one channel, a palette becomes RGB, 16 bits become 8
/// (rounded), transparency is composited on white. A JPEG's orientation tag is not applied.
/// Bounds: files of 256 MB, 64 Mi pixels, and no more pixels than the file's length can describe, checked before memory
/// is taken for them. Throws DataError "path: cannot decode ...".
Image read_image(const std::filesystem::path& path);

/// The same from bytes in memory; `where` begins the messages.
Image decode_image(std::string_view bytes, const std::string& where);

/// `quality` 1 to 100; 4:4:4 sampling. Gray is written with neutral chroma and reads back as RGB.
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality = 90);

enum class ResizeMethod { kArea, kBicubic };  // means over pixel areas (for shrinking); cubic, widened when shrinking

/// Each channel by itself, in the values as they are (no gamma).
Image resize_image(const Image& image, int width, int height, ResizeMethod method);

}  // namespace thaw
