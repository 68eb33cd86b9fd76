#include <algorithm>
#include <limits>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/npz.h"

namespace thaw {
namespace {

constexpr std::uint64_t kLimit32 = 0xffffffff;
constexpr std::uint16_t kZip64Extra = 0x0001;
constexpr std::uint16_t kVersion = 20, kVersionZip64 = 45;
// 1980-01-01 00:00, the first moment ZIP knows: the time of writing would make equal contents differ.
constexpr std::uint16_t kTime = 0, kDate = 0x21;
constexpr std::uint64_t kCrcPosition = 14;  // in the local header

std::uint32_t clamp32(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min(value, kLimit32));
}

/// What local header and directory entry have in common, from the needed version on.
std::string common_fields(std::uint32_t crc, std::uint64_t bytes, std::size_t name_length, std::size_t extra_length,
                          bool is_zip64) {
  std::string out;
  append_le(out, is_zip64 ? kVersionZip64 : kVersion);
  append_le(out, std::uint16_t{0});  // flags
  append_le(out, std::uint16_t{0});  // stored
  append_le(out, kTime);
  append_le(out, kDate);
  append_le(out, crc);
  append_le(out, clamp32(bytes));
  append_le(out, clamp32(bytes));
  append_le(out, static_cast<std::uint16_t>(name_length));
  append_le(out, static_cast<std::uint16_t>(extra_length));
  return out;
}

std::string zip64_extra(const std::vector<std::uint64_t>& values) {
  std::string out;
  if (values.empty()) return out;
  append_le(out, kZip64Extra);
  append_le(out, static_cast<std::uint16_t>(8 * values.size()));
  for (const std::uint64_t value : values) append_le(out, value);
  return out;
}

std::string local_header(const std::string& name, std::uint64_t bytes) {
  const bool is_zip64 = bytes >= kLimit32;
  const std::string extra = zip64_extra(is_zip64 ? std::vector{bytes, bytes} : std::vector<std::uint64_t>{});
  return concat("PK\x03\x04", common_fields(0, bytes, name.size(), extra.size(), is_zip64), name, extra);
}

}  // namespace

NpzWriter::NpzWriter(const std::filesystem::path& path) : where_(path.string()), file_(path) {}

void NpzWriter::fail(const std::string& what) const {
  throw Error(ExitCode::kBug, concat(where_, ": ", what));
}

void NpzWriter::begin_array(std::string_view name, std::string_view descr, std::vector<std::int64_t> shape) {
  if (is_open_) fail("an array begins before the one before it ended");
  const std::string file_name = concat(name, ".npy");
  for (const Member& member : members_)
    if (member.name == file_name) fail(concat("array ", quoted_name(name), " given twice"));
  const std::uint64_t item_bytes = npy_item_bytes(descr);
  if (item_bytes == 0 || !checked_bytes(shape, item_bytes, left_) || file_name.size() > 0xffff)
    fail(concat("cannot write array ", quoted_name(name), " as ", shape_text(shape), " of ", quoted_name(descr)));
  const std::string header = npy_header(descr, shape);
  members_.push_back({file_name, 0, header.size() + left_, file_.size()});
  file_.write(local_header(file_name, members_.back().bytes));
  left_ += header.size();
  is_open_ = true;
  write(header);
}

void NpzWriter::write(std::string_view bytes) {
  if (!is_open_ || bytes.size() > left_) fail(concat(bytes.size(), " bytes written where ", left_, " are left"));
  Member& member = members_.back();
  member.crc = crc32_of(bytes_of(bytes), member.crc);
  file_.write(bytes);
  left_ -= bytes.size();
}

void NpzWriter::write(std::span<const std::uint8_t> bytes) {
  write(text_of(std::as_bytes(bytes)));
}

void NpzWriter::end_array() {
  if (!is_open_ || left_ != 0) fail(concat("array ends with ", left_, " bytes missing"));
  std::string crc;
  append_le(crc, members_.back().crc);
  file_.write_at(members_.back().offset + kCrcPosition, crc);
  is_open_ = false;
}

void NpzWriter::write_directory() {
  const std::uint64_t start = file_.size();
  std::string directory;
  for (const Member& member : members_) {
    std::vector<std::uint64_t> large;
    if (member.bytes >= kLimit32) large = {member.bytes, member.bytes};
    if (member.offset >= kLimit32) large.push_back(member.offset);
    const std::string extra = zip64_extra(large);
    directory += "PK\x01\x02";
    append_le(directory, kVersionZip64);  // made by
    directory += common_fields(member.crc, member.bytes, member.name.size(), extra.size(), !large.empty());
    directory.append(10, '\0');  // no comment, first disk, no attributes
    append_le(directory, clamp32(member.offset));
    directory += member.name + extra;
  }
  const std::uint64_t size = directory.size(), count = members_.size();
  if (start >= kLimit32 || size >= kLimit32 || count >= 0xffff) {
    directory += "PK\x06\x06";
    append_le(directory, std::uint64_t{44});  // length of what follows in this record
    append_le(directory, kVersionZip64);
    append_le(directory, kVersionZip64);
    directory.append(8, '\0');  // disk numbers
    for (const std::uint64_t value : {count, count, size, start}) append_le(directory, value);
    directory += std::string("PK\x06\x07\0\0\0\0", 8);
    append_le(directory, start + size);
    append_le(directory, std::uint32_t{1});
  }
  directory += std::string("PK\x05\x06\0\0\0\0", 8);
  const auto count16 = static_cast<std::uint16_t>(std::min<std::uint64_t>(count, 0xffff));
  append_le(directory, count16);
  append_le(directory, count16);
  append_le(directory, clamp32(size));
  append_le(directory, clamp32(start));
  append_le(directory, std::uint16_t{0});
  file_.write(directory);
}

void NpzWriter::commit() {
  if (is_open_) fail("commit inside an array");
  write_directory();
  file_.commit();
}

}  // namespace thaw
