#include "core/io/json_guard.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <set>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"

namespace thaw {
namespace {

using nlohmann::json;

/// A value takes 16 bytes in memory and as few as 2 in the text.
constexpr std::size_t kMaxValues = 4'000'000;

/// Iterates over the text and tells how far the parser has come: its callback knows no position.
class TrackedIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  const char& operator*() const { return *at_; }
  TrackedIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  bool operator==(const TrackedIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackedIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

std::string position_text(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t line_start = before.rfind('\n');
  const std::size_t column = line_start == std::string_view::npos ? before.size() : before.size() - line_start - 1;
  return concat(line, ":", std::max<std::size_t>(column, 1));
}

/// The library's message without its exception number and its own position.
std::string reason_of(const json::exception& error) {
  std::string_view message = error.what();
  if (const auto end = message.find("] "); end != std::string_view::npos) message.remove_prefix(end + 2);
  constexpr std::string_view kPosition = "parse error at ";
  if (message.substr(0, kPosition.size()) == kPosition)
    if (const auto end = message.find(": "); end != std::string_view::npos) message.remove_prefix(end + 2);
  return printable(message);
}

/// What the parser calls at each value; throws a text that lacks the position.
class Guard {
 public:
  explicit Guard(int max_depth) : max_depth_(max_depth) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    using Event = json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start || event == Event::value) {
      if (++values_ > kMaxValues) throw std::length_error(concat("more than ", kMaxValues, " values"));
    }
    if ((event == Event::object_start || event == Event::array_start) && depth >= max_depth_)
      throw std::length_error(concat("nested deeper than ", max_depth_));
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key && !keys_.back().insert(parsed.get<std::string>()).second)
      throw std::length_error(concat("duplicate key ", quoted_name(parsed.get_ref<const std::string&>())));
    return true;
  }

 private:
  int max_depth_;
  std::size_t values_ = 0;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

json parse_json_text(std::string_view text, const std::string& where, int max_depth) {
  const char* reached = text.data();
  const auto here = [&] { return position_text(text, static_cast<std::size_t>(reached - text.data())); };
  // nlohmann-json takes a zero byte for the end of the text, and would pass over what follows it.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos)
    throw DataError(concat(where, ":", position_text(text, zero + 1), ": not valid JSON: a zero byte"));
  Guard guard(max_depth);
  try {
    return json::parse(
        TrackedIterator(text.data(), &reached), TrackedIterator(text.data() + text.size(), &reached),
        [&guard](int depth, json::parse_event_t event, json& parsed) { return guard(depth, event, parsed); });
  } catch (const json::exception& error) {
    throw DataError(concat(where, ":", here(), ": not valid JSON: ", reason_of(error)));
  } catch (const std::length_error& error) {
    throw DataError(concat(where, ":", here(), ": ", error.what()));
  }
}

json parse_json_file(const std::filesystem::path& path, std::uint64_t max_bytes, int max_depth) {
  return parse_json_text(read_file(path, max_bytes), path.string(), max_depth);
}

}  // namespace thaw
