#pragma once
// Tables of comma-separated values, as RFC 4180 has them.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace thaw {

/// Reads row by row from text that outlives it. Fields may stand in double quotes, and then hold commas, line ends and
/// doubled quotes; lines end with \n or \r\n; a byte order mark at the start and lines without anything are passed
/// over. Throws DataError "where:line: ..." for quotes in the middle of a field, text behind a closing one, a quote
/// that does not end, zero bytes, and rows of another number of fields than the first.
class CsvReader {
 public:
  CsvReader(std::string_view text, std::string where);

  /// The next row into `fields`; false at the end.
  bool next(std::vector<std::string>& fields);
  /// Where the last row began, from 1.
  std::int64_t line() const { return row_line_; }

 private:
  [[noreturn]] void fail(const std::string& what) const;
  std::string quoted_field();
  std::string plain_field();
  bool at_line_end() const;

  std::string_view text_;
  std::string where_;
  std::size_t at_ = 0, num_fields_ = 0;
  std::int64_t line_ = 1, row_line_ = 0;
};

}  // namespace thaw
