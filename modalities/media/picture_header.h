#pragma once
// What a PNG or JPEG says of itself, read before a decoder takes memory for it. Internal to modalities/media.

#include <cstdint>
#include <string>
#include <string_view>

namespace thaw {

constexpr std::int64_t kMaxPixels = std::int64_t{1} << 26;

enum class PictureKind { kPng, kJpeg };

struct PictureHeader {
  PictureKind kind = PictureKind::kPng;
  int width = 0, height = 0;
};

/// Walks the file's chunks or markers. Throws DataError "where: cannot decode ...": neither PNG nor JPEG, cut off,
/// above kMaxPixels, more pixels than a file of this length can describe, or (PNG) a wrong checksum or missing rows.
PictureHeader read_picture_header(std::string_view bytes, const std::string& where);

}  // namespace thaw
