// Animated PNG against its specification, and its frames against still pictures.

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/io/bytes.h"
#include "core/io/png.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

struct Chunk {
  std::string type, data;
};

std::vector<Chunk> chunks_of(const std::string& png) {
  std::vector<Chunk> chunks;
  for (std::size_t at = 8; at < png.size();) {
    const std::uint32_t length = load_be32(bytes_of(png), at);
    chunks.push_back({png.substr(at + 4, 4), png.substr(at + 8, length)});
    CATCH_CHECK(load_be32(bytes_of(png), at + 8 + length) == crc32_of(bytes_of(png.substr(at + 4, 4 + length))));
    at += 12 + length;
  }
  return chunks;
}

}  // namespace

CATCH_TEST_CASE("an animated PNG holds each frame as a still PNG does, in the order of its numbers", "[io][png]") {
  constexpr int kWidth = 31, kHeight = 19, kFrames = 4;
  for (const int channels : {1, 3}) {
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(kFrames * kWidth * kHeight * channels));
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * i * 7 % 251 + i / 89);
    const auto chunks = chunks_of(encode_animated_png(pixels, {kFrames, kWidth, kHeight, channels, 40}));
    const std::size_t bytes = pixels.size() / kFrames;
    CATCH_REQUIRE(chunks.size() == 3 + 2 * kFrames);
    CATCH_CHECK(chunks[0].type == "IHDR");
    CATCH_CHECK(chunks[1].type == "acTL");
    CATCH_CHECK(load_be32(bytes_of(chunks[1].data), 0) == kFrames);
    CATCH_CHECK(load_be32(bytes_of(chunks[1].data), 4) == 0);
    std::uint32_t number = 0;
    for (std::size_t t = 0; t < kFrames; ++t) {
      const Chunk &control = chunks[2 + 2 * t], &data = chunks[3 + 2 * t];
      const auto still =
          chunks_of(encode_png({pixels.data() + t * bytes, bytes}, kWidth, kHeight, channels));  // IHDR, IDAT, IEND
      CATCH_CHECK(control.type == "fcTL");
      CATCH_CHECK(control.data.size() == 26);
      CATCH_CHECK(load_be32(bytes_of(control.data), 0) == number++);
      CATCH_CHECK(load_be32(bytes_of(control.data), 4) == kWidth);
      CATCH_CHECK(load_be32(bytes_of(control.data), 8) == kHeight);
      CATCH_CHECK(control.data.substr(20, 4) == std::string{0, 40, 3, '\xe8'});  // 40 / 1000 s
      if (t == 0) {
        CATCH_CHECK(data.type == "IDAT");
        CATCH_CHECK(data.data == still[1].data);
      } else {
        CATCH_CHECK(data.type == "fdAT");
        CATCH_CHECK(load_be32(bytes_of(data.data), 0) == number++);
        CATCH_CHECK(data.data.substr(4) == still[1].data);
      }
    }
    CATCH_CHECK(chunks.back().type == "IEND");
    CATCH_CHECK_THROWS_AS(encode_animated_png(pixels, {kFrames + 1, kWidth, kHeight, channels, 40}), Error);
  }
}
