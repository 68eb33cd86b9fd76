#include "core/io/csv.h"

#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

CsvReader::CsvReader(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
}

void CsvReader::fail(const std::string& what) const {
  throw DataError(concat(where_, ":", row_line_, ": ", what));
}

bool CsvReader::at_line_end() const {
  return at_ == text_.size() || text_[at_] == '\n' || text_.substr(at_, 2) == "\r\n";
}

bool CsvReader::next(std::vector<std::string>& fields) {
  fields.clear();
  while (at_ < text_.size() && at_line_end()) {
    at_ += text_[at_] == '\n' ? 1 : 2;
    ++line_;
  }
  if (at_ == text_.size()) return false;
  row_line_ = line_;
  while (true) {
    fields.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted_field() : plain_field());
    if (at_line_end()) break;
    if (text_[at_] != ',') fail("text behind a closing quote");
    ++at_;
  }
  if (num_fields_ == 0) num_fields_ = fields.size();
  if (fields.size() != num_fields_) fail(concat("a row of ", fields.size(), " fields, the first has ", num_fields_));
  return true;
}

std::string CsvReader::quoted_field() {
  std::string field;
  ++at_;
  while (true) {
    if (at_ == text_.size()) fail("a quote that does not end");
    const char c = text_[at_++];
    if (c == '\0') fail("a byte of zero");
    if (c == '\n') ++line_;
    if (c != '"') {
      field += c;
    } else if (at_ < text_.size() && text_[at_] == '"') {
      field += '"';
      ++at_;
    } else {
      return field;
    }
  }
}

std::string CsvReader::plain_field() {
  const std::size_t begin = at_;
  while (!at_line_end() && text_[at_] != ',') {
    if (text_[at_] == '"') fail("a quote inside a field that does not begin with one");
    if (text_[at_] == '\0') fail("a byte of zero");
    ++at_;
  }
  return std::string(text_.substr(begin, at_ - begin));
}

}  // namespace thaw
