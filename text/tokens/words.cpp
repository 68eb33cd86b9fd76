#include "text/tokens/words.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw::text {

namespace {

std::vector<std::string> pieces_of(std::string_view text) {
  const std::string normal = lower_case(compose(text));
  std::vector<std::string> pieces;
  bool is_run = false;  // of letters, which goes on
  for (std::size_t position = 0; position < normal.size();) {
    const std::size_t begin = position;
    const char32_t code = next_code_point(normal, position);
    const std::string character = normal.substr(begin, position - begin);
    const bool is_word = is_letter(code);
    if (is_word && is_run)
      pieces.back() += character;
    else if (!is_space(code))
      pieces.push_back(character);
    is_run = is_word;
  }
  return pieces;
}

std::vector<std::string> characters_of(std::string_view piece) {
  std::vector<std::string> characters;
  for (std::size_t position = 0; position < piece.size();) {
    const std::size_t begin = position;
    next_code_point(piece, position);
    characters.emplace_back(piece.substr(begin, position - begin));
  }
  return characters;
}

}  // namespace

WordTokenizer::WordTokenizer(const std::vector<std::string>& vocabulary) {
  for (const std::string& word : vocabulary) {
    if (!is_utf8(word)) throw ConfigError("vocabulary: a word is not UTF-8.");
    if (pieces_of(word) != std::vector<std::string>{word})
      throw ConfigError(concat("vocabulary: \"", word, "\": expected lower-case letters or one other character."));
    if (!ids_.emplace(word, size_++).second)
      throw ConfigError(concat("vocabulary: \"", word, "\" stands there twice."));
  }
}

WordTokenizer WordTokenizer::bytes() {
  WordTokenizer tokenizer;
  tokenizer.is_bytes_ = true;
  tokenizer.size_ = 4 + 256;
  return tokenizer;
}

std::vector<std::string> WordTokenizer::learn(std::span<const std::string> texts, std::size_t count) {
  std::map<std::string, std::size_t> words;
  std::set<std::string> characters;
  for (const std::string& text : texts) {
    expect_utf8_prompt(text);
    for (const std::string& piece : pieces_of(text)) {
      ++words[piece];
      for (std::string& character : characters_of(piece)) characters.insert(std::move(character));
    }
  }
  std::vector<std::pair<std::string, std::size_t>> ranked(words.begin(), words.end());
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> vocabulary(characters.begin(), characters.end());
  for (std::size_t i = 0; i < ranked.size() && i < count; ++i)
    if (characters.count(ranked[i].first) == 0) vocabulary.push_back(ranked[i].first);
  return vocabulary;
}

std::vector<TokenId> WordTokenizer::encode(std::string_view text) const {
  expect_utf8_prompt(text);
  std::vector<TokenId> ids;
  if (is_bytes_) {
    for (const char byte : text) ids.push_back(4 + static_cast<unsigned char>(byte));
    return ids;
  }
  for (const std::string& piece : pieces_of(text)) {
    if (const auto found = ids_.find(piece); found != ids_.end()) {
      ids.push_back(found->second);
      continue;
    }
    for (const std::string& character : characters_of(piece)) {
      const auto found = ids_.find(character);
      ids.push_back(found == ids_.end() ? kUnknown : found->second);
    }
  }
  return ids;
}

TokenRows WordTokenizer::encode_rows(std::span<const std::string> texts, std::int64_t length) const {
  if (length < 2) throw ConfigError(concat("text length: must be at least 2, got ", length, "."));
  TokenRows rows;
  for (const std::string& text : texts) {
    std::vector<TokenId> row = encode(text);
    row.resize(std::min(row.size(), static_cast<std::size_t>(length) - 2));
    row.insert(row.begin(), kBegin);
    row.push_back(kEnd);
    rows.mask.emplace_back(row.size(), 1);
    rows.mask.back().resize(static_cast<std::size_t>(length), 0);
    row.resize(static_cast<std::size_t>(length), kPad);
    rows.ids.push_back(std::move(row));
  }
  return rows;
}

}  // namespace thaw::text
