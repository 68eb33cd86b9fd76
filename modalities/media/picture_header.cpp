#include "modalities/media/picture_header.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/inflate.h"

namespace thaw {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPngMagic = "\x89PNG\r\n\x1a\n"sv, kJpegMagic = "\xff\xd8\xff"sv;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw DataError(concat(where, ": cannot decode the picture: ", what));
}

void expect_size(std::uint64_t width, std::uint64_t height, std::uint64_t most_pixels, const std::string& where) {
  if (width == 0 || height == 0) fail(where, concat("size ", width, "x", height));
  constexpr std::uint64_t kLongestSide = 1 << 24;
  if (width > kLongestSide || height > kLongestSide || width * height > static_cast<std::uint64_t>(kMaxPixels))
    fail(where, concat("size ", width, "x", height, ", at most ", kMaxPixels, " pixels are read"));
  if (width * height > most_pixels)
    fail(where, concat("size ", width, "x", height, " is more than a file of this length can hold"));
}

struct PngLayout {
  std::uint32_t width = 0, height = 0, bits_a_pixel = 0;
  bool is_interlaced = false;
};

/// Bytes of all rows with their filter bytes, before compression.
std::uint64_t raw_bytes(const PngLayout& png) {
  struct Pass {
    std::uint32_t x, y, step_x, step_y;
  };
  constexpr std::array<Pass, 7> kAdam7{
      {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};
  constexpr std::array<Pass, 1> kWhole{{{0, 0, 1, 1}}};
  std::uint64_t total = 0;
  for (const Pass& pass : png.is_interlaced ? std::span<const Pass>(kAdam7) : std::span<const Pass>(kWhole)) {
    const std::uint64_t columns = png.width > pass.x ? (png.width - pass.x - 1) / pass.step_x + 1 : 0;
    const std::uint64_t rows = png.height > pass.y ? (png.height - pass.y - 1) / pass.step_y + 1 : 0;
    if (columns > 0) total += rows * (1 + (columns * png.bits_a_pixel + 7) / 8);
  }
  return total;
}

PngLayout png_layout(std::string_view data, const std::string& where) {
  if (data.size() != 13) fail(where, "the header chunk has a wrong length");
  const auto bytes = bytes_of(data);
  const auto depth = static_cast<unsigned char>(data[8]), colour = static_cast<unsigned char>(data[9]);
  const std::uint32_t samples = colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
  const PngLayout png{load_be32(bytes, 0), load_be32(bytes, 4), std::max<std::uint32_t>(depth, 1) * samples,
                      data[12] != 0};
  expect_size(png.width, png.height, static_cast<std::uint64_t>(kMaxPixels), where);
  return png;
}

/// libav fills rows that are missing from the compressed data with zeros and reports nothing.
void expect_all_rows(const PngLayout& png, const std::vector<std::string_view>& pieces, const std::string& where) {
  std::string joined;
  std::uint64_t data_bytes = 0;
  for (const std::string_view piece : pieces) data_bytes += piece.size();
  const std::uint64_t expected = raw_bytes(png);
  if (expected / kMaxInflateRatio > data_bytes)
    fail(where, concat("size ", png.width, "x", png.height, " is more than a file of this length can hold"));
  if (pieces.size() != 1)
    for (const std::string_view piece : pieces) joined += piece;
  const std::string_view packed = pieces.size() == 1 ? pieces.front() : std::string_view(joined);
  Inflater inflater(bytes_of(packed), Compression::kZlib, concat(where, ": cannot decode the picture"));
  std::array<std::uint8_t, 1 << 14> buffer;
  std::uint64_t reached = 0;
  while (reached < expected) {
    const std::size_t got = inflater.read(buffer);
    if (got == 0) fail(where, concat("its rows take ", expected, " bytes, the data holds ", reached));
    reached += got;
  }
}

PictureHeader png_header(std::string_view file, const std::string& where) {
  std::string_view left = file.substr(kPngMagic.size());
  PngLayout png;
  std::vector<std::string_view> pieces;
  for (std::string_view type; type != "IEND";) {
    constexpr std::size_t kFrame = 12;
    const auto bytes = bytes_of(left);
    if (left.size() < kFrame || load_be32(bytes, 0) > left.size() - kFrame) fail(where, "the file is cut off");
    const std::size_t length = load_be32(bytes, 0);
    type = left.substr(4, 4);
    if (load_be32(bytes, 8 + length) != crc32_of(bytes.subspan(4, 4 + length)))
      fail(where, concat("wrong checksum of chunk ", quoted_name(type)));
    if ((type == "IHDR") != (png.width == 0)) fail(where, concat("chunk ", quoted_name(type), " out of order"));
    if (type == "IHDR") png = png_layout(left.substr(8, length), where);
    if (type == "IDAT") pieces.push_back(left.substr(8, length));
    left.remove_prefix(kFrame + length);
  }
  expect_all_rows(png, pieces, where);
  return {PictureKind::kPng, static_cast<int>(png.width), static_cast<int>(png.height)};
}

/// SOF0 to SOF15 but for DHT, JPG and DAC, which have numbers of that range.
bool is_frame_marker(unsigned char marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

PictureHeader jpeg_header(std::string_view file, const std::string& where) {
  // A block of 64 pixels of one component takes at least one bit in a scan; chroma may be subsampled four by four.
  constexpr std::uint64_t kMaxPixelsPerByte = 1024;
  if (file.find("\xff\xd9"sv, kJpegMagic.size()) == std::string_view::npos) fail(where, "the file is cut off");
  std::string_view left = file.substr(2);
  while (left.size() >= 4) {
    if (left[0] != '\xff') fail(where, "a marker is missing");
    const auto marker = static_cast<unsigned char>(left[1]);
    if (marker == 0xff) {  // fill byte
      left.remove_prefix(1);
      continue;
    }
    const std::size_t length =
        static_cast<std::size_t>(static_cast<unsigned char>(left[2]) << 8) | static_cast<unsigned char>(left[3]);
    if (length < 2 || length > left.size() - 2) fail(where, "the file is cut off");
    if (is_frame_marker(marker)) {
      if (length < 8) fail(where, "the frame header is too short");
      const auto side = [&](std::size_t at) {
        return static_cast<int>(static_cast<unsigned char>(left[at]) << 8 | static_cast<unsigned char>(left[at + 1]));
      };
      const PictureHeader header{PictureKind::kJpeg, side(7), side(5)};
      expect_size(static_cast<std::uint64_t>(header.width), static_cast<std::uint64_t>(header.height),
                  file.size() * kMaxPixelsPerByte, where);
      return header;
    }
    if (marker == 0xda || marker == 0xd9) break;
    left.remove_prefix(2 + length);
  }
  fail(where, "no frame header");
}

}  // namespace

PictureHeader read_picture_header(std::string_view bytes, const std::string& where) {
  if (bytes.starts_with(kPngMagic)) return png_header(bytes, where);
  if (bytes.starts_with(kJpegMagic)) return jpeg_header(bytes, where);
  fail(where, concat("neither PNG nor JPEG (it begins with ", quoted_name(bytes.substr(0, 8)), ")"));
}

}  // namespace thaw
