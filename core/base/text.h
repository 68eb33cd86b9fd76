#pragma once
// Text helpers without a formatting library: g++ 12 has no <format>, and libtorch ships an fmt of its own.

#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace thaw {

/// The arguments, streamed one after the other: concat("got ", 3, " of ", n).
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// Shortest decimal text that reads back as the same double; "nan", "inf", "-inf" for the others.
std::string format_double(double value);

/// `value` with `digits` significant digits, for people ("0.9734", "1.2e-05").
std::string format_short(double value, int digits = 4);

/// "12 s", "3 min 05 s", "1 h 02 min".
std::string format_duration_s(double seconds);

/// "1.4 MB" (powers of 1000).
std::string format_bytes(std::uint64_t bytes);

std::string join(std::span<const std::string> parts, std::string_view separator);

/// The words of a text, without the white space between them.
std::vector<std::string> split_words(const std::string& text);

/// Levenshtein distance, for "did you mean".
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `name`, or an empty string when none is near enough (distance > max(2, length / 3)).
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

/// " Did you mean \"x\"?" or an empty string.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

/// XXH3-64 of the bytes, as 16 hexadecimal digits: content identity, not security.
std::string content_hash(std::string_view bytes);

}  // namespace thaw
