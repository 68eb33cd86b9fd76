#include "text/tokens/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <span>

#include <utf8proc.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/tokens/unicode_tables.h"

namespace thaw::text {

namespace {

/// Bytes of the sequence that begins here, or 0 where it is no UTF-8.
std::size_t sequence_length(std::string_view text, std::size_t position) {
  utf8proc_int32_t code = 0;
  const utf8proc_ssize_t length =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + position,
                       static_cast<utf8proc_ssize_t>(std::min<std::size_t>(4, text.size() - position)), &code);
  return length > 0 && code >= 0 ? static_cast<std::size_t>(length) : 0;
}

std::size_t first_bad_byte(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    const std::size_t length = sequence_length(text, position);
    if (length == 0) break;
    position += length;
  }
  return position;
}

bool contains(std::span<const CodeRange> ranges, char32_t code) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), code,
                                      [](char32_t value, const CodeRange& range) { return value < range.first; });
  return after != ranges.begin() && code <= std::prev(after)->last;
}

std::string mapped(std::string_view text, int direction) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | direction);
  utf8proc_uint8_t* bytes = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &bytes, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(bytes, &std::free);
  if (size < 0) throw Error(ExitCode::kBug, concat("normalisation of text that is not UTF-8: ", utf8proc_errmsg(size)));
  return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

/// Marks that are newer than the peer's tables stand where they are; nothing is moved past them or joined to them.
std::string mapped_like_peer(std::string_view text, int direction) {
  std::string out;
  std::size_t begin = 0;
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t here = position;
    if (!contains(kUnknownMarks, next_code_point(text, position))) continue;
    if (here > begin) out += mapped(text.substr(begin, here - begin), direction);
    out.append(text, here, position - here);
    begin = position;
  }
  return begin == 0 ? mapped(text, direction) : out + mapped(text.substr(begin), direction);
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<unsigned char>(byte) < 0x80; });
}

}  // namespace

bool is_utf8(std::string_view text) {
  return first_bad_byte(text) == text.size();
}

void expect_utf8_prompt(std::string_view prompt) {
  const std::size_t bad = first_bad_byte(prompt);
  if (bad != prompt.size())
    throw ConfigError(concat("prompt: expected UTF-8, found byte ",
                             static_cast<int>(static_cast<unsigned char>(prompt[bad])), " at offset ", bad, "."));
}

char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte = [&](std::size_t at) { return static_cast<char32_t>(static_cast<unsigned char>(text[at])); };
  const char32_t first = byte(position++);
  if (first < 0x80) return first;
  const std::size_t more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
  char32_t code = first & (0x3Fu >> more);
  for (std::size_t i = 0; i < more; ++i) code = code << 6 | (byte(position++) & 0x3Fu);
  return code;
}

void append_code_point(std::string& text, char32_t code) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t count = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count));
}

bool is_letter(char32_t code) {
  return contains(kLetters, code);
}
bool is_number(char32_t code) {
  return contains(kNumbers, code);
}
bool is_bert_removed(char32_t code) {
  return contains(kBertRemoved, code);
}
bool is_bert_mark(char32_t code) {
  return contains(kBertMarks, code);
}
bool is_bert_punctuation(char32_t code) {
  return contains(kBertPunctuation, code);
}

bool is_space(char32_t code) {
  return (code >= 0x9 && code <= 0xD) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

bool is_cjk(char32_t code) {
  static constexpr CodeRange kRanges[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},  {0x20000, 0x2A6DF},
                                          {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
  return contains(kRanges, code);
}

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const char32_t code = next_code_point(text, position);
    if (code < 0x80) {
      out += code >= 'A' && code <= 'Z' ? static_cast<char>(code + 32) : static_cast<char>(code);
      continue;
    }
    if (code == 0x130) {  // the only small form of two code points (SpecialCasing.txt)
      out += "i\xCC\x87";
      continue;
    }
    const auto known = std::lower_bound(std::begin(kNewLower), std::end(kNewLower), code,
                                        [](const CodeRange& pair, char32_t value) { return pair.first < value; });
    append_code_point(out, known != std::end(kNewLower) && known->first == code
                               ? known->last
                               : static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
  }
  return out;
}

std::string compose(std::string_view text) {
  return is_ascii(text) ? std::string(text) : mapped_like_peer(text, UTF8PROC_COMPOSE);
}

std::string decompose(std::string_view text) {
  return is_ascii(text) ? std::string(text) : mapped_like_peer(text, UTF8PROC_DECOMPOSE);
}

std::vector<std::size_t> grapheme_ends(std::string_view text) {
  std::vector<std::size_t> ends;
  utf8proc_int32_t state = 0;
  for (std::size_t position = 0; position < text.size();) {
    const char32_t code = next_code_point(text, position);
    std::size_t after = position;
    if (after == text.size() ||
        utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(code),
                                         static_cast<utf8proc_int32_t>(next_code_point(text, after)), &state))
      ends.push_back(position);
  }
  return ends;
}

}  // namespace thaw::text
