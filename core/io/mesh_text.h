#pragma once
// What the readers of text meshes share: lines with their number, words, numbers, and building a Mesh with checks.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/mesh.h"

namespace thaw {

inline constexpr std::size_t kMaxMeshLine = std::size_t{1} << 20;

/// Line by line; words of the present line. Nothing is copied.
class MeshLines {
 public:
  MeshLines(std::string_view text, const std::string& where, char comment = '\0', std::string_view separators = " \t\r")
      : text_(text), where_(where), comment_(comment), separators_(separators) {}

  /// To the next line that holds a word; false at the end.
  bool next() {
    while (at_ < text_.size()) {
      take_line();
      skip_separators();
      if (!line_.empty()) return true;
    }
    return false;
  }
  /// Words that are left in the line.
  bool has_word() const { return !line_.empty(); }
  /// The next word; empty at the line's end.
  std::string_view word() {
    const std::size_t end = std::min(line_.find_first_of(separators_), line_.size());
    const std::string_view result = line_.substr(0, end);
    line_.remove_prefix(end);
    skip_separators();
    return result;
  }
  /// The next word of this line or of those that follow; fails at the end of the text.
  std::string_view word_anywhere(const char* what) {
    if (!has_word() && !next()) fail(concat("ends before ", what));
    return word();
  }
  float number(const char* what) { return number_of(word(), what); }
  float number_of(std::string_view word, const char* what) const {
    return static_cast<float>(wide_number_of(word, what));
  }
  /// The same before it is rounded; finite as a float32.
  double wide_number_of(std::string_view word, const char* what) const {
    if (word.starts_with('+')) word.remove_prefix(1);
    double value = 0.0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    const bool is_read = error == std::errc() && end == word.data() + word.size();
    if (!is_read || !std::isfinite(static_cast<float>(value)))
      fail(concat(word.empty() ? "ends" : quoted_name(word),
                  word.empty() ? " before " : " is no finite number: ", what));
    return value;
  }
  std::int64_t integer_of(std::string_view word, const char* what) const {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || word.empty())
      fail(concat(word.empty() ? "ends" : quoted_name(word), word.empty() ? " before " : " is no integer: ", what));
    return value;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(concat(where_, ":", line_number_, ": ", what));
  }
  /// Bytes that are not read yet, this line's included.
  std::size_t left() const { return text_.size() - at_ + line_.size(); }
  std::size_t position() const { return at_; }
  std::int64_t line_number() const { return line_number_; }
  /// What was read before this text began.
  void count_from(std::int64_t line_number) { line_number_ = line_number; }

 private:
  void take_line() {
    ++line_number_;
    const std::size_t most = std::min(text_.size() - at_, kMaxMeshLine + 1);
    const char* begin = text_.data() + at_;
    const void* found = std::memchr(begin, '\n', most);
    if (found == nullptr && most > kMaxMeshLine) fail("a line of more than 1 MiB");
    const std::size_t length =
        found == nullptr ? most : static_cast<std::size_t>(static_cast<const char*>(found) - begin);
    at_ += length + (found == nullptr ? 0 : 1);
    line_ = {begin, length};
    if (comment_ != '\0') line_ = line_.substr(0, line_.find(comment_));
    if (line_.find('\0') != std::string_view::npos) fail("a byte of zero in text");
  }
  void skip_separators() { line_.remove_prefix(std::min(line_.find_first_not_of(separators_), line_.size())); }

  std::string_view text_, line_{};
  std::string where_;
  char comment_;
  std::string_view separators_;
  std::size_t at_ = 0;
  std::int64_t line_number_ = 0;
};

/// Polygons as fans of triangles, corner by corner; who calls checks the indices.
class FanBuilder {
 public:
  explicit FanBuilder(std::vector<std::uint32_t>& triangles) : triangles_(triangles) {}
  void begin() { corners_ = 0; }
  void corner(std::uint32_t index) {
    if (corners_ >= 2) triangles_.insert(triangles_.end(), {first_, last_, index});
    if (corners_ == 0) first_ = index;
    last_ = index;
    ++corners_;
  }

 private:
  std::vector<std::uint32_t>& triangles_;
  std::uint32_t first_ = 0, last_ = 0;
  std::size_t corners_ = 0;
};

/// Throws unless there are vertices.
inline Mesh with_vertices(Mesh mesh, const std::string& where) {
  if (mesh.vertices.empty()) throw DataError(where + ": holds no vertices");
  return mesh;
}

}  // namespace thaw
