#include "modalities/media/image_file.h"

#include <array>
#include <cmath>
#include <cstdlib>

#include <zlib.h>

#include "core/io/bytes.h"
#include "core/io/png.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using namespace std::string_literals;

namespace {

using Bytes = std::vector<std::uint8_t>;

void append_chunk(std::string& png, const std::string& type, const std::string& data) {
  append_be32(png, static_cast<std::uint32_t>(data.size()));
  png += type + data;
  append_be32(png, crc32_of(bytes_of(type + data)));
}

/// A PNG of any depth and colour type; `rows` with their filter bytes, `extra` chunks before the data.
std::string png_of(std::uint32_t width, std::uint32_t height, char depth, char colour, const std::string& rows,
                   const std::vector<std::pair<std::string, std::string>>& extra = {}) {
  std::string header, png = "\x89PNG\r\n\x1a\n";
  append_be32(header, width);
  append_be32(header, height);
  append_chunk(png, "IHDR", header + std::string{depth, colour, 0, 0, 0});
  for (const auto& [type, data] : extra) append_chunk(png, type, data);
  std::string packed(compressBound(rows.size()), '\0');
  uLongf size = packed.size();
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(rows.data()), rows.size());
  packed.resize(size);
  append_chunk(png, "IDAT", packed);
  append_chunk(png, "IEND", "");
  return png;
}

Bytes pixels_of(const std::string& png, int channels) {
  const Image image = decode_image(png, "p");
  CATCH_CHECK(image.channels == channels);
  return image.pixels;
}

std::string refusal(std::string_view bytes) {
  return message_of<DataError>([&] { decode_image(bytes, "p"); });
}

Image ramp(int width, int height, int channels) {
  Image image{width, height, channels, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.pixels.push_back(
            static_cast<std::uint8_t>((x * (c + 1) * 255 / width + y * (3 - c) * 85 / height) % 256));
  return image;
}

/// Smooth in every channel, so that JPEG's loss is small.
Image soft(int width, int height) {
  Image image{width, height, 3, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (const int value : {255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)})
        image.pixels.push_back(static_cast<std::uint8_t>(value));
  return image;
}

double mean_difference(const Bytes& a, const Bytes& b) {
  CATCH_REQUIRE(a.size() == b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

}  // namespace

CATCH_TEST_CASE("pictures of our own writer read back exactly", "[media][image]") {
  const Scratch scratch;
  for (const int channels : {1, 3})
    for (const auto& [width, height] : {std::pair{1, 1}, {7, 5}, {64, 33}}) {
      const Image image = ramp(width, height, channels);
      write_png(scratch / "a.png", image.pixels, width, height, channels);
      const Image read = read_image(scratch / "a.png");
      CATCH_CHECK(read.width == width);
      CATCH_CHECK(read.height == height);
      CATCH_CHECK(read.channels == channels);
      CATCH_CHECK(read.pixels == image.pixels);
    }
}

CATCH_TEST_CASE("sixteen bits round to eight, and low depths spread over the range", "[media][image]") {
  // 0x0080 is 0.498 of a step, 0x0081 is 0.502.
  CATCH_CHECK(pixels_of(png_of(4, 1, 16, 0, "\0\0\0\xff\xff\0\x80\0\x81"s), 1) == Bytes{0, 255, 0, 1});
  CATCH_CHECK(pixels_of(png_of(1, 1, 16, 2, "\0\0\0\xff\xff\x80\x80"s), 3) == Bytes{0, 255, 128});
  CATCH_CHECK(pixels_of(png_of(9, 1, 1, 0, "\0\xa5\x80"s), 1) == Bytes{255, 0, 255, 0, 0, 255, 0, 255, 255});
  for (const auto& [depth, row, expected] :
       {std::tuple{2, "\0\x1b"s, Bytes{0, 85, 170, 255}}, {4, "\0\x0f\x5a"s, Bytes{0, 255, 85, 170}}}) {
    const Image image = decode_image(png_of(4, 1, static_cast<char>(depth), 0, row), "p");
    for (std::size_t i = 0; i < 4; ++i)
      CATCH_CHECK(image.pixels[i * static_cast<std::size_t>(image.channels)] == expected[i]);
    CATCH_CHECK(image.channels == 1);
  }
}

CATCH_TEST_CASE("an interlaced png is read, and one that lacks a pass is not", "[media][image]") {
  const auto interlaced = [](const std::string& rows) {
    std::string png = png_of(3, 3, 8, 0, rows);
    constexpr std::size_t kHeaderChunk = 12, kInterlace = 28, kChecksum = 29;
    png[kInterlace] = 1;
    std::string crc;
    append_be32(crc, crc32_of(bytes_of(png).subspan(kHeaderChunk, kChecksum - kHeaderChunk)));
    return png.replace(kChecksum, crc.size(), crc);
  };
  // Adam7 on 3 x 3: passes 1, 4, 5, 6 and 7 are not empty.
  const std::string rows =
      "\0a"
      "\0c"
      "\0gi"
      "\0b\0h"
      "\0def"s;
  CATCH_CHECK(pixels_of(interlaced(rows), 1) == Bytes{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'});
  CATCH_CHECK(refusal(interlaced(rows.substr(0, 11))) ==
              "p: cannot decode the picture: its rows take 15 bytes, the data holds 11");
}

CATCH_TEST_CASE("transparency is composited on white", "[media][image]") {
  // Opacities 255, 0 and 51 = one fifth: 0.2 v + 0.8 * 255.
  CATCH_CHECK(pixels_of(png_of(3, 1, 8, 6, "\0\x0a\x14\x1e\xff\x0a\x14\x1e\0\0\x64\xff\x33"s), 3) ==
              Bytes{10, 20, 30, 255, 255, 255, 204, 224, 255});
  CATCH_CHECK(pixels_of(png_of(2, 1, 8, 4, "\0\x0a\xff\x0a\x33"s), 1) == Bytes{10, 206});
  CATCH_CHECK(pixels_of(png_of(1, 1, 16, 6, "\0\0\0\xff\xff\x80\x80\x33\x33"s), 3) == Bytes{204, 255, 230});
  // A palette of red, and green at one fifth.
  CATCH_CHECK(pixels_of(png_of(2, 1, 8, 3, "\0\0\1"s, {{"PLTE", "\xff\0\0\0\xff\0"s}, {"tRNS", "\xff\x33"s}}), 3) ==
              Bytes{255, 0, 0, 204, 255, 204});
  // One colour declared transparent.
  CATCH_CHECK(pixels_of(png_of(2, 1, 8, 2, "\0\1\2\3\4\5\6"s, {{"tRNS", "\0\1\0\2\0\3"s}}), 3) ==
              Bytes{255, 255, 255, 4, 5, 6});
}

CATCH_TEST_CASE("a jpeg comes back near, the nearer the higher its quality", "[media][image]") {
  const Scratch scratch;
  const Image image = soft(65, 43);
  double last = 10;
  for (const int quality : {30, 75, 100}) {
    CATCH_CAPTURE(quality);
    write_jpeg(scratch / "a.jpg", image, quality);
    const Image read = read_image(scratch / "a.jpg");
    CATCH_CHECK(read.width == 65);
    CATCH_CHECK(read.height == 43);
    const double difference = mean_difference(read.pixels, image.pixels);
    CATCH_CHECK(difference < last);
    last = difference;
  }
  CATCH_CHECK(last < 1.0);  // rounding of three channels to YUV and back costs about half a level
  write_jpeg(scratch / "gray.jpg", ramp(16, 16, 1), 100);
  CATCH_CHECK(mean_difference(resize_image(read_image(scratch / "gray.jpg"), 1, 1, ResizeMethod::kArea).pixels,
                              Bytes(3, resize_image(ramp(16, 16, 1), 1, 1, ResizeMethod::kArea).pixels[0])) < 2.0);
  CATCH_CHECK_THROWS_AS(write_jpeg(scratch / "a.jpg", image, 0), ConfigError);
}

CATCH_TEST_CASE("jpeg colours are full-range bt.601", "[media][image]") {
  const Scratch scratch;
  const std::vector<std::array<std::uint8_t, 3>> colours{{255, 0, 0}, {0, 255, 0},     {0, 0, 255},
                                                         {0, 0, 0},   {255, 255, 255}, {40, 90, 200}};
  for (const auto& colour : colours) {
    Image image{16, 16, 3, {}};
    for (int i = 0; i < 256; ++i) image.pixels.insert(image.pixels.end(), colour.begin(), colour.end());
    write_jpeg(scratch / "a.jpg", image, 100);
    const Image read = read_image(scratch / "a.jpg");
    for (std::size_t c = 0; c < 3; ++c) CATCH_CHECK(std::abs(read.pixels[c] - colour[c]) <= 2);
  }
}

CATCH_TEST_CASE("resizing keeps constants and means, and does not mix channels", "[media][image]") {
  Image image{8, 8, 3, Bytes(192, 0)};
  for (std::size_t i = 0; i < 64; ++i) image.pixels[3 * i] = i % 8 < 4 ? 200 : 100, image.pixels[3 * i + 1] = 77;
  for (const ResizeMethod method : {ResizeMethod::kArea, ResizeMethod::kBicubic}) {
    const Image small = resize_image(image, 2, 2, method);
    CATCH_CHECK(small.channels == 3);
    for (std::size_t i = 0; i < 4; ++i) {
      CATCH_CHECK(small.pixels[3 * i + 1] == 77);
      CATCH_CHECK(small.pixels[3 * i + 2] == 0);
      // The cubic kernel overshoots at the edge between 200 and 100 by up to 13 %.
      CATCH_CHECK(std::abs(small.pixels[3 * i] - (i % 2 == 0 ? 200 : 100)) <= (method == ResizeMethod::kArea ? 0 : 13));
    }
    const Image large = resize_image(image, 17, 31, method);
    CATCH_CHECK(large.pixels.size() == 17 * 31 * 3);
    CATCH_CHECK(large.pixels[1] == 77);
    CATCH_CHECK(resize_image(image, 1, 1, method).pixels[1] == 77);
    CATCH_CHECK(resize_image(resize_image(image, 1, 1, method), 5, 3, method).pixels[1] == 77);
  }
  CATCH_CHECK(resize_image(image, 1, 1, ResizeMethod::kArea).pixels[0] == 150);
  CATCH_CHECK(resize_image(image, 8, 8, ResizeMethod::kBicubic).pixels == image.pixels);
  CATCH_CHECK_THROWS_AS(resize_image(image, 0, 8, ResizeMethod::kArea), ConfigError);
}

CATCH_TEST_CASE("what is no picture is named", "[media][image]") {
  const Scratch scratch;
  CATCH_CHECK(refusal("GIF89a...") ==
              "p: cannot decode the picture: neither PNG nor JPEG (it begins with \"GIF89a..\")");
  CATCH_CHECK_THROWS_AS(read_image(scratch / "none.png"), DataError);
  CATCH_CHECK_THROWS_AS(read_image(scratch.folder()), DataError);
  CATCH_CHECK_THROWS_AS(read_image(scratch.put("empty.png", "")), DataError);
}

CATCH_TEST_CASE("a picture that claims more pixels than its file can hold takes no memory", "[media][image][hostile]") {
  CATCH_CHECK(refusal(png_of(70'000, 70'000, 8, 2, "\0"s)) ==
              "p: cannot decode the picture: size 70000x70000, at most 67108864 pixels are read");
  CATCH_CHECK(refusal(png_of(8'000, 8'000, 8, 2, "\0"s)) ==
              "p: cannot decode the picture: size 8000x8000 is more than a file of this length can hold");
  CATCH_CHECK(refusal(png_of(0, 8, 8, 2, "\0"s)) == "p: cannot decode the picture: size 0x8");
  std::string jpeg = "\xff\xd8\xff\xe0\0\4xx\xff\xc0\0\x0b\x08\xff\xff\xff\xff\3xx\xff\xd9"s;
  CATCH_CHECK(refusal(jpeg) == "p: cannot decode the picture: size 65535x65535, at most 67108864 pixels are read");
  jpeg.replace(13, 4, "\x10\0\x10\0"s);
  CATCH_CHECK(refusal(jpeg) ==
              "p: cannot decode the picture: size 4096x4096 is more than a file of this length can hold");
  // Too few rows in a valid file.
  CATCH_CHECK(refusal(png_of(4, 4, 8, 0, "\0abcd\0abcd"s)) ==
              "p: cannot decode the picture: its rows take 20 bytes, the data holds 10");
}

CATCH_TEST_CASE("no prefix of a picture is read", "[media][image][hostile]") {
  const Scratch scratch;
  const auto read = [](std::string_view bytes) { decode_image(bytes, "p"); };
  const Image image = soft(24, 16);
  thaw::testing::expect_no_prefix_is_read(encode_png(image.pixels, 24, 16, 3), read);
  write_jpeg(scratch / "a.jpg", image, 80);
  thaw::testing::expect_no_prefix_is_read(scratch.get("a.jpg"), read);
}

CATCH_TEST_CASE("damaged pictures are read or refused", "[media][image][hostile]") {
  const Scratch scratch;
  const auto read = [](std::string_view bytes) { decode_image(bytes, "p"); };
  const Image image = soft(24, 16);
  // Every chunk has a checksum: only bytes after the end may change.
  CATCH_CHECK(thaw::testing::read_mutations(encode_png(image.pixels, 24, 16, 3), 10'000, read) < 100);
  write_jpeg(scratch / "a.jpg", image, 80);
  CATCH_CHECK(thaw::testing::read_mutations(scratch.get("a.jpg"), 3'000, read) < 3'000);
}

CATCH_TEST_CASE("a damaged png whose checksums are right is read or refused", "[media][image][hostile]") {
  const std::string rows = "\0abcdefghijkl\1mnopqrstuvwx\2ABCDEFGHIJKL\4MNOPQRSTUVWX"s;
  std::uint32_t state = 1;
  const auto draw = [&state] { return (state = state * 1664525u + 1013904223u) >> 16; };
  int num_read = 0;
  constexpr std::array<char, 5> kDepths{1, 2, 4, 8, 16};
  for (int i = 0; i < 3'000; ++i) {
    std::string changed = rows;
    changed[draw() % changed.size()] = static_cast<char>(draw());
    changed.resize(draw() % 4 == 0 ? draw() % changed.size() : changed.size());
    const std::string png = png_of(1 + draw() % 8, 1 + draw() % 8, kDepths[draw() % 5], static_cast<char>(draw() % 7),
                                   changed, {{"PLTE", std::string(3 * (1 + draw() % 8), 'p')}});
    num_read += thaw::testing::survives(png, [](std::string_view bytes) { decode_image(bytes, "p"); }) ? 1 : 0;
  }
  CATCH_CHECK(num_read > 100);
}
