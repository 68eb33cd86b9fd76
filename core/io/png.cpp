#include "core/io/png.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <optional>
#include <vector>

#include <zlib.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"

namespace thaw {
namespace {

void append_chunk(std::string& png, std::string_view type, std::string_view data) {
  append_be32(png, static_cast<std::uint32_t>(data.size()));
  const std::size_t start = png.size();
  png += type;
  png += data;
  append_be32(png, crc32_of(bytes_of(std::string_view(png).substr(start))));
}

/// A row under filters None (0), Sub (1) and Up (2), and the sum of its absolute signed values: the usual guess of
/// which compresses best (PNG specification, 12.8).
struct FilteredRow {
  std::array<std::string, 3> bytes;
  std::array<std::uint64_t, 3> cost;
};

void filter_row(const std::uint8_t* row, const std::uint8_t* above, std::size_t row_bytes, std::size_t channels,
                FilteredRow& out) {
  for (std::size_t filter = 0; filter < out.bytes.size(); ++filter) {
    std::string& bytes = out.bytes[filter];
    bytes.assign(1, static_cast<char>(filter));
    out.cost[filter] = 0;
    for (std::size_t i = 0; i < row_bytes; ++i) {
      const int left = filter == 1 && i >= channels ? row[i - channels] : 0;
      const int up = filter == 2 && above != nullptr ? above[i] : 0;
      const auto value = static_cast<std::int8_t>(row[i] - left - up);
      out.cost[filter] += static_cast<std::uint64_t>(std::abs(value));
      bytes += static_cast<char>(value);
    }
  }
}

std::string compressed(const std::string& raw) {
  uLongf size = compressBound(raw.size());
  std::string out(size, '\0');
  constexpr int kLevel = 6;
  if (compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(raw.data()), raw.size(),
                kLevel) != Z_OK)
    throw ResourceError("png: out of memory for compression");
  out.resize(size);
  return out;
}

void expect_picture(std::span<const std::uint8_t> pixels, std::int64_t frames, int width, int height, int channels) {
  std::uint64_t needed = 0;
  const std::array<std::int64_t, 4> shape{frames, height, width, channels};
  if (width < 1 || height < 1 || frames < 1 || (channels != 1 && channels != 3) || !checked_bytes(shape, 1, needed) ||
      needed != pixels.size())
    throw Error(ExitCode::kBug, concat("png: ", pixels.size(), " bytes for pictures of ", shape_text(shape)));
}

/// Rows filtered and compressed, as image data chunks hold them.
std::string image_data(std::span<const std::uint8_t> pixels_HWC, int width, int height, int channels) {
  const auto row_bytes = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
  std::string raw;
  raw.reserve(pixels_HWC.size() + static_cast<std::size_t>(height));
  FilteredRow filtered;
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    const std::uint8_t* row = pixels_HWC.data() + y * row_bytes;
    filter_row(row, y > 0 ? row - row_bytes : nullptr, row_bytes, static_cast<std::size_t>(channels), filtered);
    std::size_t best = 0;
    for (std::size_t filter = 1; filter < filtered.cost.size(); ++filter)
      if (filtered.cost[filter] < filtered.cost[best]) best = filter;
    raw += filtered.bytes[best];
  }
  return compressed(raw);
}

enum ColourType : char { kGray = 0, kRgb = 2, kIndexed = 3 };

std::string begin_png(int width, int height, ColourType colour_type) {
  std::string header;
  append_be32(header, static_cast<std::uint32_t>(width));
  append_be32(header, static_cast<std::uint32_t>(height));
  header += std::string{8, colour_type, 0, 0, 0};  // bits, colour type, deflate, filter method, not interlaced
  std::string png = "\x89PNG\r\n\x1a\n";
  append_chunk(png, "IHDR", header);
  return png;
}

struct Indexed {
  std::string palette;  // three bytes a colour
  std::vector<std::uint8_t> pixels;
};

/// Empty where there are more than 256 colours. From dark to bright, so that neighbours in a picture have neighbouring
/// numbers.
std::optional<Indexed> indexed(std::span<const std::uint8_t> pixels_HWC) {
  constexpr std::size_t kMost = 256;
  const auto colour_at = [&](std::size_t i) {
    return std::array<std::uint8_t, 3>{pixels_HWC[i], pixels_HWC[i + 1], pixels_HWC[i + 2]};
  };
  std::map<std::array<std::uint8_t, 3>, std::uint8_t> numbers;
  for (std::size_t i = 0; i < pixels_HWC.size(); i += 3) {
    if (i > 0 && colour_at(i) == colour_at(i - 3)) continue;
    numbers.emplace(colour_at(i), std::uint8_t{0});
    if (numbers.size() > kMost) return {};
  }
  std::vector<std::array<std::uint8_t, 3>> colours;
  for (const auto& [colour, number] : numbers) colours.push_back(colour);
  std::ranges::stable_sort(colours, {}, [](const auto& colour) { return colour[0] + colour[1] + colour[2]; });
  Indexed result;
  for (const auto& colour : colours) {
    numbers[colour] = static_cast<std::uint8_t>(result.palette.size() / 3);
    result.palette.append(colour.begin(), colour.end());
  }
  result.pixels.reserve(pixels_HWC.size() / 3);
  for (std::size_t i = 0; i < pixels_HWC.size(); i += 3)
    result.pixels.push_back(i > 0 && colour_at(i) == colour_at(i - 3) ? result.pixels.back()
                                                                      : numbers.at(colour_at(i)));
  return result;
}

void append_be16(std::string& bytes, std::uint16_t value) {
  bytes += static_cast<char>(value >> 8);
  bytes += static_cast<char>(value & 0xff);
}

}  // namespace

std::string encode_png(std::span<const std::uint8_t> pixels_HWC, int width, int height, int channels) {
  expect_picture(pixels_HWC, 1, width, height, channels);
  const std::optional<Indexed> few = channels == 3 ? indexed(pixels_HWC) : std::nullopt;
  std::string png = begin_png(width, height, few ? kIndexed : channels == 1 ? kGray : kRgb);
  if (few) append_chunk(png, "PLTE", few->palette);
  // A chunk length has 31 bits; several IDAT chunks read as one stream.
  const std::string data =
      few ? image_data(few->pixels, width, height, 1) : image_data(pixels_HWC, width, height, channels);
  constexpr std::size_t kChunk = std::size_t{1} << 30;
  for (std::size_t i = 0; i < data.size(); i += kChunk)
    append_chunk(png, "IDAT", std::string_view(data).substr(i, kChunk));
  append_chunk(png, "IEND", "");
  return png;
}

std::string encode_animated_png(std::span<const std::uint8_t> pixels_THWC, const PngAnimation& animation) {
  const auto [frames, width, height, channels, delay_ms] = animation;
  expect_picture(pixels_THWC, frames, width, height, channels);
  std::string png = begin_png(width, height, channels == 1 ? kGray : kRgb), control;
  append_be32(control, static_cast<std::uint32_t>(frames));
  append_be32(control, 0);  // plays without end
  append_chunk(png, "acTL", control);
  const std::size_t bytes = pixels_THWC.size() / static_cast<std::size_t>(frames);
  std::uint32_t sequence = 0;
  for (std::size_t t = 0; t < static_cast<std::size_t>(frames); ++t) {
    std::string frame;
    append_be32(frame, sequence++);
    append_be32(frame, static_cast<std::uint32_t>(width));
    append_be32(frame, static_cast<std::uint32_t>(height));
    append_be32(frame, 0);
    append_be32(frame, 0);  // at the top left
    append_be16(frame, delay_ms);
    append_be16(frame, 1000);
    frame += std::string{0, 0};  // left as it is; written over the last one
    append_chunk(png, "fcTL", frame);
    const std::string data = image_data(pixels_THWC.subspan(t * bytes, bytes), width, height, channels);
    if (t == 0) {
      append_chunk(png, "IDAT", data);
    } else {
      std::string numbered;
      append_be32(numbered, sequence++);
      append_chunk(png, "fdAT", numbered + data);
    }
  }
  append_chunk(png, "IEND", "");
  return png;
}

void write_png(const std::filesystem::path& path, std::span<const std::uint8_t> pixels_HWC, int width, int height,
               int channels) {
  write_file(path, encode_png(pixels_HWC, width, height, channels));
}

}  // namespace thaw
