#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/inflate.h"
#include "core/io/mapped_file.h"
#include "core/io/npz.h"

namespace thaw {
namespace {

constexpr std::size_t kMaxMembers = 10'000;
constexpr std::uint32_t kLimit32 = 0xffffffff;

struct Entry {
  std::string name;
  std::uint16_t flags = 0, method = 0;
  std::uint32_t crc = 0;
  std::uint64_t packed_bytes = 0, bytes = 0, offset = 0;
};

struct Directory {
  std::uint64_t count = 0, bytes = 0, offset = 0;
};

/// Reads fields in order and never past the end.
class Fields {
 public:
  Fields(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  template <std::unsigned_integral T>
  T take() {
    return load_le<T>(take_bytes(sizeof(T)), 0);
  }
  std::span<const std::byte> take_bytes(std::uint64_t count) {
    if (count > bytes_.size())
      throw DataError(concat(where_, ": a zip record needs ", count, " bytes, ", bytes_.size(), " are left"));
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  void skip(std::uint64_t count) { take_bytes(count); }
  void expect_signature(std::uint32_t wanted, const char* what) {
    if (take<std::uint32_t>() != wanted) throw DataError(concat(where_, ": no zip ", what, " where one should be"));
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
};

std::span<const std::byte> from_offset(std::span<const std::byte> file, std::uint64_t offset,
                                       const std::string& where) {
  if (offset > file.size())
    throw DataError(concat(where, ": a zip record at byte ", offset, ", the file holds ", file.size()));
  return file.subspan(offset);
}

/// The end record is the last one, followed by a comment of at most 65535 bytes.
std::size_t find_end_record(std::span<const std::byte> file, const std::string& where) {
  constexpr std::size_t kEndBytes = 22, kLongestComment = 65535;
  const std::string_view text = text_of(file);
  const std::size_t from = text.size() - std::min(text.size(), kEndBytes + kLongestComment);
  const std::size_t found = text.rfind("PK\x05\x06");
  if (found == std::string_view::npos || found < from || text.size() - found < kEndBytes)
    throw DataError(concat(where, ": not a complete npz file: the zip end record is missing"));
  return found;
}

Directory read_end_record(std::span<const std::byte> file, const std::string& where) {
  const std::size_t end = find_end_record(file, where);
  Fields fields(file.subspan(end), where);
  fields.skip(10);  // signature, disk numbers, entries on this disk
  Directory directory;
  directory.count = fields.take<std::uint16_t>();
  directory.bytes = fields.take<std::uint32_t>();
  directory.offset = fields.take<std::uint32_t>();
  constexpr std::size_t kLocatorBytes = 20;
  const bool is_zip64 = directory.count == 0xffff || directory.bytes == kLimit32 || directory.offset == kLimit32;
  if (!is_zip64 || end < kLocatorBytes) return directory;
  Fields locator(file.subspan(end - kLocatorBytes), where);
  if (locator.take<std::uint32_t>() != 0x07064b50) return directory;
  locator.skip(4);
  Fields record(from_offset(file, locator.take<std::uint64_t>(), where), where);
  record.expect_signature(0x06064b50, "64-bit end record");
  record.skip(28);  // its length, versions, disk numbers, entries on this disk
  directory.count = record.take<std::uint64_t>();
  directory.bytes = record.take<std::uint64_t>();
  directory.offset = record.take<std::uint64_t>();
  return directory;
}

/// Sizes that did not fit 32 bits stand in the extra field, in this order and only those.
void apply_zip64(Fields extra, std::size_t length, Entry& entry) {
  while (length >= 4) {
    const auto id = extra.take<std::uint16_t>();
    const auto size = extra.take<std::uint16_t>();
    if (id == 0x0001) {
      for (std::uint64_t* value : {&entry.bytes, &entry.packed_bytes, &entry.offset})
        if (*value == kLimit32) *value = extra.take<std::uint64_t>();
      return;
    }
    extra.skip(size);
    length -= std::min<std::size_t>(length, 4u + size);
  }
}

Entry read_entry(Fields& fields, const std::string& where) {
  fields.expect_signature(0x02014b50, "directory entry");
  Entry entry;
  fields.skip(4);  // versions
  entry.flags = fields.take<std::uint16_t>();
  entry.method = fields.take<std::uint16_t>();
  fields.skip(4);  // time
  entry.crc = fields.take<std::uint32_t>();
  entry.packed_bytes = fields.take<std::uint32_t>();
  entry.bytes = fields.take<std::uint32_t>();
  const auto name_length = fields.take<std::uint16_t>();
  const auto extra_length = fields.take<std::uint16_t>();
  const auto comment_length = fields.take<std::uint16_t>();
  fields.skip(8);  // disk, attributes
  entry.offset = fields.take<std::uint32_t>();
  entry.name = text_of(fields.take_bytes(name_length));
  apply_zip64(Fields(fields.take_bytes(extra_length), where), extra_length, entry);
  fields.skip(comment_length);
  return entry;
}

std::vector<Entry> read_entries(std::span<const std::byte> file, const std::string& where) {
  const Directory directory = read_end_record(file, where);
  if (directory.count > kMaxMembers)
    throw DataError(concat(where, ": ", directory.count, " members, at most ", kMaxMembers, " allowed"));
  const auto rest = from_offset(file, directory.offset, where);
  if (directory.bytes > rest.size()) throw DataError(concat(where, ": the zip directory leaves the file"));
  Fields fields(rest.first(directory.bytes), where);
  std::vector<Entry> entries;
  for (std::uint64_t i = 0; i < directory.count; ++i) entries.push_back(read_entry(fields, where));
  return entries;
}

/// The packed bytes of a member; `where` names it.
std::span<const std::byte> packed_data(std::span<const std::byte> file, const Entry& entry, const std::string& where) {
  constexpr std::uint16_t kEncrypted = 1;
  if ((entry.flags & kEncrypted) != 0) throw DataError(concat(where, ": is encrypted"));
  if (entry.method != 0 && entry.method != 8)
    throw DataError(concat(where, ": compression method ", entry.method, ", known are 0 (stored) and 8 (deflate)"));
  if (entry.method == 0 && entry.packed_bytes != entry.bytes)
    throw DataError(concat(where, ": stored as ", entry.packed_bytes, " bytes, claims ", entry.bytes));
  if (entry.bytes / kMaxInflateRatio > entry.packed_bytes)
    throw DataError(concat(where, ": claims ", entry.bytes, " bytes from ", entry.packed_bytes, " compressed ones"));
  Fields fields(from_offset(file, entry.offset, where), where);
  fields.expect_signature(0x04034b50, "member");
  fields.skip(22);
  const auto name_length = fields.take<std::uint16_t>();
  const auto extra_length = fields.take<std::uint16_t>();
  if (text_of(fields.take_bytes(name_length)) != entry.name)
    throw DataError(concat(where, ": is named otherwise in its own header"));
  fields.skip(extra_length);
  return fields.take_bytes(entry.packed_bytes);
}

/// One piece of the file must not serve as several members: that is how a small archive unpacks to petabytes.
void expect_separate(std::vector<std::span<const std::byte>> pieces, const std::string& where) {
  std::sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.data() < b.data(); });
  for (std::size_t i = 1; i < pieces.size(); ++i)
    if (pieces[i - 1].data() + pieces[i - 1].size() > pieces[i].data())
      throw DataError(concat(where, ": members overlap"));
}

void expect_crc(std::span<const std::uint8_t> header, std::span<const std::uint8_t> data, const Entry& entry,
                const std::string& where) {
  const auto crc = crc32_of(std::as_bytes(data), crc32_of(std::as_bytes(header)));
  if (crc != entry.crc) throw DataError(concat(where, ": checksum ", crc, ", the archive says ", entry.crc));
}

NpyHeader header_of_member(std::span<const std::byte> start, const Entry& entry, const std::string& where) {
  const NpyHeader header = parse_npy_header(start, where);
  if (header.data_bytes != entry.bytes - header.header_bytes)
    throw DataError(concat(where, ": shape ", shape_text(header.shape), " of ", header.descr, " needs ",
                           header.data_bytes, " bytes, the member holds ", entry.bytes - header.header_bytes));
  return header;
}

NpyArray read_stored(std::span<const std::byte> packed, const Entry& entry, const std::string& where) {
  const NpyHeader header = header_of_member(packed, entry, where);
  const auto* start = reinterpret_cast<const std::uint8_t*>(packed.data());
  const std::span<const std::uint8_t> all(start, packed.size());
  const auto data = all.subspan(header.header_bytes);
  expect_crc(all.first(header.header_bytes), data, entry, where);
  return to_npy_array(header, {data.begin(), data.end()});
}

NpyArray read_deflated(std::span<const std::byte> packed, const Entry& entry, const std::string& where) {
  Inflater inflater(packed, Compression::kDeflate, where);
  std::vector<std::uint8_t> start;
  const std::uint64_t start_bytes = std::min<std::uint64_t>(entry.bytes, kMaxNpyHeader);
  inflater.take(start_bytes, start);
  const NpyHeader header = header_of_member(std::as_bytes(std::span(start)), entry, where);
  std::vector<std::uint8_t> data(start.begin() + static_cast<std::ptrdiff_t>(header.header_bytes), start.end());
  inflater.take(entry.bytes - start_bytes, data);
  inflater.expect_end();
  expect_crc(std::span(start).first(header.header_bytes), data, entry, where);
  return to_npy_array(header, std::move(data));
}

}  // namespace

std::map<std::string, NpyArray, std::less<>> read_npz(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const MappedFile mapped(path);
  const std::string where = path.string();
  const std::vector<Entry> entries = read_entries(mapped.bytes(), where);
  std::vector<std::span<const std::byte>> pieces;
  std::uint64_t total = 0;
  for (const Entry& entry : entries) {
    pieces.push_back(packed_data(mapped.bytes(), entry, concat(where, ": ", printable(entry.name))));
    if (entry.bytes > max_bytes - total)
      throw DataError(
          concat(where, ": ", printable(entry.name), ": more than the ", format_bytes(max_bytes), " allowed"));
    total += entry.bytes;
  }
  expect_separate(pieces, where);
  std::map<std::string, NpyArray, std::less<>> arrays;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::string member = concat(where, ": ", printable(entries[i].name));
    constexpr std::string_view kSuffix = ".npy";
    if (!entries[i].name.ends_with(kSuffix)) throw DataError(concat(member, ": is not a .npy array"));
    const std::string name = entries[i].name.substr(0, entries[i].name.size() - kSuffix.size());
    if (arrays.contains(name)) throw DataError(concat(member, ": this name stands twice"));
    arrays.emplace(name, entries[i].method == 0 ? read_stored(pieces[i], entries[i], member)
                                                : read_deflated(pieces[i], entries[i], member));
  }
  return arrays;
}

}  // namespace thaw
