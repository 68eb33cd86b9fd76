#pragma once
// UTF-8 and the classes of characters that published tokenizers tell apart.

#include <string>
#include <string_view>
#include <vector>

namespace thaw::text {

/// False for overlong forms, surrogates, values above U+10FFFF and cut-off sequences.
bool is_utf8(std::string_view text);
/// Throws ConfigError naming the byte: prompts come from a person.
void expect_utf8_prompt(std::string_view prompt);

/// The code point at `position` of valid UTF-8, which is moved past it.
char32_t next_code_point(std::string_view text, std::size_t& position);
void append_code_point(std::string& text, char32_t code);

/// Classes as the Rust package tokenizers 0.23.3 has them; see unicode_tables.h.
bool is_letter(char32_t code);
bool is_number(char32_t code);
bool is_space(char32_t code);
bool is_bert_removed(char32_t code);
bool is_bert_mark(char32_t code);
bool is_bert_punctuation(char32_t code);
/// The ranges of BERT's _is_chinese_char, as the Rust package has them.
bool is_cjk(char32_t code);

/// Each code point by itself, without regard to what stands around it.
std::string lower_case(std::string_view text);
/// Canonical composition and decomposition.
std::string compose(std::string_view text);
std::string decompose(std::string_view text);
/// Ends of the extended grapheme clusters (UAX 29).
std::vector<std::size_t> grapheme_ends(std::string_view text);

}  // namespace thaw::text
