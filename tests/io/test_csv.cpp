#include "core/io/csv.h"

#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;
using Rows = std::vector<std::vector<std::string>>;

namespace {

Rows rows_of(std::string_view text) {
  CsvReader reader(text, "t.csv");
  Rows rows;
  for (std::vector<std::string> row; reader.next(row);) rows.push_back(row);
  return rows;
}

std::string refusal(std::string_view text) {
  return message_of<DataError>([&] { rows_of(text); });
}

}  // namespace

CATCH_TEST_CASE("a table reads as RFC 4180 has it", "[io][csv]") {
  CATCH_CHECK(rows_of("a,b\n1,2\n") == Rows{{"a", "b"}, {"1", "2"}});
  CATCH_CHECK(rows_of("a,b\r\n1,2") == Rows{{"a", "b"}, {"1", "2"}});
  CATCH_CHECK(rows_of("\xEF\xBB\xBFpath,text\n\n\"x,y\",\"two \"\"words\"\"\"\n") ==
              Rows{{"path", "text"}, {"x,y", "two \"words\""}});
  CATCH_CHECK(rows_of("\"one\nline\r\nmore\",\n,\"\"\n") == Rows{{"one\nline\r\nmore", ""}, {"", ""}});
  CATCH_CHECK(rows_of(" a , b c\n") == Rows{{" a ", " b c"}});
  CATCH_CHECK(rows_of("").empty());
  CATCH_CHECK(rows_of("a\rb,c\n") == Rows{{"a\rb", "c"}});
}

CATCH_TEST_CASE("what is no table is refused with its line", "[io][csv]") {
  CATCH_CHECK(refusal("a,b\n1\n") == "t.csv:2: a row of 1 fields, the first has 2");
  CATCH_CHECK(refusal("a,b\n\n\"x\ny\",1\n1,2,3\n") == "t.csv:5: a row of 3 fields, the first has 2");
  CATCH_CHECK(refusal("a,\"b\n") == "t.csv:1: a quote that does not end");
  CATCH_CHECK(refusal("a,\"b\"c\n") == "t.csv:1: text behind a closing quote");
  CATCH_CHECK(refusal("a,b\"c\n") == "t.csv:1: a quote inside a field that does not begin with one");
  CATCH_CHECK(refusal(std::string_view("a,\0b\n", 5)) == "t.csv:1: a byte of zero");
}

CATCH_TEST_CASE("a row tells where it began", "[io][csv]") {
  CsvReader reader("a\n\n\"b\nb\"\nc\n", "t.csv");
  std::vector<std::string> row;
  std::vector<std::int64_t> lines;
  while (reader.next(row)) lines.push_back(reader.line());
  CATCH_CHECK(lines == std::vector<std::int64_t>{1, 3, 5});
}
