#include "core/io/npy.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"

namespace thaw {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kMagic = "\x93NUMPY"sv;

/// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }: the literals numpy writes and no others.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  void read(NpyHeader& header) {
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted_text();
      bool& seen = key == "descr" ? has_descr : key == "fortran_order" ? has_order : has_shape;
      if (std::exchange(seen, true)) fail("a key stands twice");
      expect(':');
      if (key == "descr")
        header.descr = quoted_text();
      else if (key == "fortran_order")
        header.is_fortran = boolean();
      else if (key == "shape")
        header.shape = tuple();
      else
        fail(concat("unknown key ", quoted_name(key)));
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!text_.empty()) fail("text after the closing brace");
    if (!has_descr || !has_order || !has_shape) fail("descr, fortran_order and shape are needed");
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(concat(where_, ": npy header: ", what, " before ", quoted_name(text_.substr(0, 40))));
  }

  void skip_space() { text_.remove_prefix(std::min(text_.find_first_not_of(" \t\n"), text_.size())); }

  bool accept(char wanted) {
    skip_space();
    if (text_.empty() || text_.front() != wanted) return false;
    text_.remove_prefix(1);
    return true;
  }

  void expect(char wanted) {
    if (!accept(wanted)) fail(concat("expected ", wanted));
  }

  std::string quoted_text() {
    const char quote = accept('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    const std::size_t end = text_.find(quote);
    if (end == std::string_view::npos) fail("a text does not end");
    const std::string value(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return value;
  }

  bool boolean() {
    skip_space();
    for (const auto& [word, value] : {std::pair{"True"sv, true}, std::pair{"False"sv, false}})
      if (text_.substr(0, word.size()) == word) {
        text_.remove_prefix(word.size());
        return value;
      }
    fail("expected True or False");
  }

  std::vector<std::int64_t> tuple() {
    constexpr std::size_t kMaxDimensions = 64;  // numpy's limit since 2.0
    std::vector<std::int64_t> sizes;
    expect('(');
    while (!accept(')')) {
      skip_space();
      std::int64_t size = -1;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) fail("expected a size >= 0");
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      sizes.push_back(size);
      if (sizes.size() > kMaxDimensions) fail(concat("more than ", kMaxDimensions, " dimensions"));
      if (!accept(',')) {
        if (sizes.size() == 1) fail("expected a tuple");  // (3) is a number in Python
        expect(')');
        break;
      }
    }
    return sizes;
  }

  std::string_view text_;
  const std::string& where_;
};

}  // namespace

std::uint64_t npy_item_bytes(std::string_view descr) {
  if (descr.size() < 3) return 0;
  std::uint64_t count = 0;
  const auto [end, error] = std::from_chars(descr.data() + 2, descr.data() + descr.size(), count);
  if (error != std::errc() || end != descr.data() + descr.size()) return 0;
  const char order = descr[0], kind = descr[1];
  constexpr std::uint64_t kLongestText = std::uint64_t{1} << 28;
  const bool is_text = (kind == 'S' || kind == 'U') && count <= kLongestText;
  const bool is_known = (kind == 'b' && count == 1) || ("iu"sv.find(kind) != std::string_view::npos && count <= 8) ||
                        (kind == 'f' && count >= 2 && count <= 8) || (kind == 'c' && (count == 8 || count == 16));
  const bool is_power = count > 0 && (count & (count - 1)) == 0;
  if (!is_text && !(is_known && is_power)) return 0;
  const bool is_single = kind == 'S' || (count == 1 && kind != 'U');
  if (is_single ? order != '|' && order != '<' : order != '<') return 0;
  return kind == 'U' ? 4 * count : count;
}

NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& where) {
  const std::string_view text = text_of(bytes);
  if (text.size() < 10 || text.substr(0, kMagic.size()) != kMagic)
    throw DataError(concat(where, ": does not begin with the npy magic"));
  const int major = static_cast<unsigned char>(text[6]);
  if (major < 1 || major > 3) throw DataError(concat(where, ": npy version ", major, ", known are 1 to 3"));
  const std::size_t start = major == 1 ? 10 : 12;
  if (text.size() < start) throw DataError(concat(where, ": ends inside the npy header"));
  const std::size_t length = major == 1 ? load_le<std::uint16_t>(bytes, 8) : load_le<std::uint32_t>(bytes, 8);
  if (length > kMaxNpyHeader - 12)
    throw DataError(concat(where, ": npy header of ", length, " bytes, at most ", kMaxNpyHeader - 12, " allowed"));
  if (length > text.size() - start)
    throw DataError(concat(where, ": npy header of ", length, " bytes, ", text.size() - start, " follow"));
  NpyHeader header;
  HeaderText(text.substr(start, length), where).read(header);
  header.header_bytes = start + length;
  const std::uint64_t item_bytes = npy_item_bytes(header.descr);
  if (item_bytes == 0)
    throw DataError(concat(where, ": element type ", quoted_name(header.descr),
                           " is not read: little-endian numbers and texts are"));
  if (!checked_bytes(header.shape, item_bytes, header.data_bytes))
    throw DataError(concat(where, ": shape ", shape_text(header.shape), " of ", header.descr, " is beyond 2^63 bytes"));
  return header;
}

std::string npy_header(std::string_view descr, std::span<const std::int64_t> shape) {
  std::string text = concat("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (std::size_t i = 0; i < shape.size(); ++i) text += concat(i > 0 ? ", " : "", shape[i]);
  text += shape.size() == 1 ? ",), }" : "), }";
  constexpr std::size_t kPrefix = 10, kAlignment = 64;
  const std::size_t unpadded = kPrefix + text.size() + 1;
  text.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string header(kMagic);
  header += "\x01\x00"sv;
  append_le(header, static_cast<std::uint16_t>(text.size()));
  return header + text;
}

NpyArray to_npy_array(const NpyHeader& header, std::vector<std::uint8_t> data) {
  NpyArray array{header.descr, header.shape, std::move(data)};
  if (!header.is_fortran || header.shape.size() < 2 || array.bytes.empty()) return array;
  const std::size_t item_bytes = npy_item_bytes(header.descr), dimensions = header.shape.size();
  std::vector<std::size_t> stride(dimensions, item_bytes), index(dimensions, 0);
  for (std::size_t d = 1; d < dimensions; ++d)
    stride[d] = stride[d - 1] * static_cast<std::size_t>(header.shape[d - 1]);
  std::vector<std::uint8_t> ordered(array.bytes.size());
  std::size_t from = 0;
  for (std::size_t to = 0; to < ordered.size(); to += item_bytes) {
    std::copy_n(array.bytes.begin() + static_cast<std::ptrdiff_t>(from), item_bytes,
                ordered.begin() + static_cast<std::ptrdiff_t>(to));
    for (std::size_t d = dimensions; d-- > 0;) {
      from += stride[d];
      if (++index[d] < static_cast<std::size_t>(header.shape[d])) break;
      from -= stride[d] * index[d];
      index[d] = 0;
    }
  }
  array.bytes = std::move(ordered);
  return array;
}

NpyArray read_npy(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const std::string file = read_file(path, max_bytes);
  const NpyHeader header = parse_npy_header(bytes_of(file), path.string());
  const std::size_t held = file.size() - header.header_bytes;
  if (held != header.data_bytes)
    throw DataError(concat(path.string(), ": shape ", shape_text(header.shape), " of ", header.descr, " needs ",
                           header.data_bytes, " bytes, the file holds ", held));
  return to_npy_array(header, {file.begin() + static_cast<std::ptrdiff_t>(header.header_bytes), file.end()});
}

void write_npy(const std::filesystem::path& path, const NpyArray& array) {
  std::uint64_t needed = 0;
  const std::uint64_t item_bytes = npy_item_bytes(array.descr);
  if (item_bytes == 0 || !checked_bytes(array.shape, item_bytes, needed) || needed != array.bytes.size())
    throw Error(ExitCode::kBug, concat(path.string(), ": cannot write ", array.bytes.size(), " bytes as ",
                                       shape_text(array.shape), " of ", quoted_name(array.descr)));
  AtomicFile file(path);
  file.write(npy_header(array.descr, array.shape));
  file.write(text_of(std::as_bytes(std::span(array.bytes))));
  file.commit();
}

}  // namespace thaw
