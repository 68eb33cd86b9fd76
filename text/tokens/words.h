#pragma once
// A vocabulary of one's own, for a text network that is trained along: lower-case words, and characters or bytes for
// the rest.

#include <unordered_map>

#include "text/tokens/tokenizer.h"

namespace thaw::text {

/// Ids: 0 pad, 1 begin, 2 end, 3 unknown, then the vocabulary in its order.
///
/// A text is composed (NFC), lower-cased, and taken apart into runs of letters, single digits and other single
/// characters; white space separates. A run that is no word of the vocabulary is spelt by its characters, each of which
/// is a token or unknown.
class WordTokenizer {
 public:
  static constexpr TokenId kPad = 0, kBegin = 1, kEnd = 2, kUnknown = 3;

  /// Throws ConfigError for a word that is empty, not UTF-8, there twice, or that splitting would take apart.
  explicit WordTokenizer(const std::vector<std::string>& vocabulary);
  /// The bytes: any text, without unknown tokens.
  static WordTokenizer bytes();
  /// The `count` most frequent pieces of the texts, and every character of them; ties in order of the alphabet.
  static std::vector<std::string> learn(std::span<const std::string> texts, std::size_t count);

  std::vector<TokenId> encode(std::string_view text) const;
  /// [begin, text, end], cut and padded to `length`.
  TokenRows encode_rows(std::span<const std::string> texts, std::int64_t length) const;
  TokenId size() const { return size_; }

 private:
  WordTokenizer() = default;
  std::unordered_map<std::string, TokenId> ids_;
  TokenId size_ = 4;
  bool is_bytes_ = false;
};

}  // namespace thaw::text
