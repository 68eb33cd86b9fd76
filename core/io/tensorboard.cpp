#include "core/io/tensorboard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"

namespace thaw {

namespace {

namespace fs = std::filesystem;

/// CRC-32C (Castagnoli), reflected polynomial 0x82f63b78; zlib's crc32 is another polynomial.
constexpr std::array<std::uint32_t, 256> crc32c_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = crc;
  }
  return table;
}

/// TFRecord's masking: a CRC over bytes that hold CRCs would be weak.
std::uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc32c_table();
  std::uint32_t crc = 0xffffffff;
  for (const char byte : bytes) crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
  return std::rotr(~crc, 15) + 0xa282ead8u;
}

std::string framed(std::string_view data) {
  std::string record;
  append_le(record, std::uint64_t{data.size()});
  append_le(record, masked_crc32c(record));
  record += data;
  append_le(record, masked_crc32c(data));
  return record;
}

// Protobuf wire types.
constexpr std::uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
// Field numbers of Event, Summary.Value and Summary.Image (tensorboard/compat/proto/{event,summary}.proto).
constexpr std::uint32_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;
constexpr std::uint32_t kSummaryValue = 1, kTag = 1, kSimpleValue = 2, kImage = 4;
constexpr std::uint32_t kHeight = 1, kWidth = 2, kColourspace = 3, kEncodedImage = 4;

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_key(std::string& out, std::uint32_t field, std::uint32_t type) {
  append_varint(out, field << 3 | type);
}

void append_number(std::string& out, std::uint32_t field, std::uint64_t value) {
  append_key(out, field, kVarint);
  append_varint(out, value);
}

void append_text(std::string& out, std::uint32_t field, std::string_view text) {
  append_key(out, field, kBytes);
  append_varint(out, text.size());
  out += text;
}

std::string event_start(double wall_time_s) {
  std::string out;
  append_key(out, kWallTime, kFixed64);
  append_le(out, std::bit_cast<std::uint64_t>(wall_time_s));
  return out;
}

std::string version_record(double wall_time_s) {
  std::string data = event_start(wall_time_s);
  append_text(data, kFileVersion, "brain.Event:2");
  return framed(data);
}

std::string record_of(const Event& event) {
  std::string value;
  append_text(value, kTag, event.tag);
  if (const float* number = std::get_if<float>(&event.value)) {
    append_key(value, kSimpleValue, kFixed32);
    append_le(value, std::bit_cast<std::uint32_t>(*number));
  } else {
    const auto& picture = std::get<EventImage>(event.value);
    std::string image;
    append_number(image, kHeight, static_cast<std::uint64_t>(picture.height));
    append_number(image, kWidth, static_cast<std::uint64_t>(picture.width));
    append_number(image, kColourspace, static_cast<std::uint64_t>(picture.channels));  // 1 gray, 3 RGB
    append_text(image, kEncodedImage, picture.png);
    append_text(value, kImage, image);
  }
  std::string summary;
  append_text(summary, kSummaryValue, value);
  std::string data = event_start(event.wall_time_s);
  append_number(data, kStep, static_cast<std::uint64_t>(event.step));
  append_text(data, kSummary, summary);
  return framed(data);
}

/// The data of the next record, cut from the front of `file`; nothing at the end or at a torn or damaged record.
std::optional<std::string_view> next_record(std::string_view& file) {
  constexpr std::size_t kFrame = 16;
  if (file.size() < kFrame) return std::nullopt;
  const auto length = load_le<std::uint64_t>(bytes_of(file), 0);
  if (length > file.size() - kFrame) return std::nullopt;
  const std::string_view data = file.substr(12, length);
  if (load_le<std::uint32_t>(bytes_of(file), 8) != masked_crc32c(file.substr(0, 8))) return std::nullopt;
  if (load_le<std::uint32_t>(bytes_of(file), 12 + length) != masked_crc32c(data)) return std::nullopt;
  file.remove_prefix(kFrame + length);
  return data;
}

std::uint64_t take_varint(std::string_view& data) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !data.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(data.front());
    data.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) break;
  }
  return value;
}

/// Field `step` of an Event; no step means 0, as protobuf leaves zeros out.
std::int64_t step_of(std::string_view data) {
  while (!data.empty()) {
    const std::uint64_t key = take_varint(data);
    if (key == (kStep << 3 | kVarint)) return static_cast<std::int64_t>(take_varint(data));
    const std::uint64_t type = key & 7;
    if (type == kVarint) {
      take_varint(data);
      continue;
    }
    const std::uint64_t skipped = type == kFixed64 ? 8 : type == kFixed32 ? 4 : take_varint(data);
    data.remove_prefix(static_cast<std::size_t>(std::min<std::uint64_t>(skipped, data.size())));
  }
  return 0;
}

constexpr std::string_view kPrefix = "events.out.tfevents.", kSuffix = ".thaw";

/// Number in the name of one of our files, or 0.
int number_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) || name.size() <= kPrefix.size() + kSuffix.size())
    return 0;
  const std::string_view digits =
      std::string_view(name).substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() ? std::max(number, 0) : 0;
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (number_of(entry.path()) > 0) files.push_back(entry.path());
  std::sort(files.begin(), files.end(),
            [](const fs::path& a, const fs::path& b) { return number_of(a) < number_of(b); });
  return files;
}

/// The name after all others: TensorBoard leaves a file for good once one with a later name appears.
fs::path next_file(const fs::path& folder, const std::vector<fs::path>& files) {
  const std::string digits = concat(files.empty() ? 1 : number_of(files.back()) + 1);
  const std::string padded = std::string(10 - std::min<std::size_t>(10, digits.size()), '0') + digits;
  return folder / concat(kPrefix, padded, kSuffix);
}

}  // namespace

void write_event_file(const fs::path& path, std::span<const Event> events) {
  std::string bytes = version_record(events.empty() ? 0 : events.front().wall_time_s);
  for (const Event& event : events) bytes += record_of(event);
  write_file(path, bytes);
}

EventImage event_image(std::string png) {
  const auto number = [&](std::size_t at) {
    int value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(png.at(at + i));
    return value;
  };
  const int width = number(16), height = number(20), channels = png.at(25) == 2 ? 3 : 1;
  return {std::move(png), width, height, channels};
}

EventWriter::EventWriter(fs::path folder)
    : folder_(std::move(folder)), path_(next_file(folder_, event_files(folder_))) {}

void EventWriter::append(const Event& event) {
  const std::string start = is_begun_ ? "" : version_record(event.wall_time_s);
  append_bytes(path_, start + record_of(event));
  is_begun_ = true;
}

void EventWriter::scalar(std::string_view tag, std::int64_t step, double wall_time_s, float value) {
  append({step, wall_time_s, std::string(tag), value});
}

void EventWriter::image(std::string_view tag, std::int64_t step, double wall_time_s, EventImage picture) {
  append({step, wall_time_s, std::string(tag), std::move(picture)});
}

void EventWriter::rewrite_up_to(std::int64_t step) {
  const std::vector<fs::path> files = event_files(folder_);
  if (files.empty()) return;
  std::string kept;
  std::set<std::string> seen;  // a kill between writing the new file and removing the old ones leaves both
  for (const fs::path& path : files) {
    const std::string bytes = read_file(path);
    std::string_view left = bytes;
    while (const auto data = next_record(left)) {
      // Each file begins with its version at step 0; one is enough.
      const bool is_version = !kept.empty() && data->find("brain.Event:2") == 11 && data->size() == 24;
      if (!is_version && step_of(*data) <= step && seen.insert(content_hash(*data)).second) kept += framed(*data);
    }
  }
  path_ = next_file(folder_, files);
  is_begun_ = !kept.empty();
  if (is_begun_) write_file(path_, kept);
  std::error_code ignored;
  for (const fs::path& path : files) fs::remove(path, ignored);
}

}  // namespace thaw
