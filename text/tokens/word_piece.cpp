#include "text/tokens/word_piece.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw::text {

namespace {

std::string clean(std::string_view text, bool spaces_cjk) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t begin = position;
    const char32_t code = next_code_point(text, position);
    if (is_bert_removed(code)) continue;
    if (is_space(code)) {
      out += ' ';
    } else if (spaces_cjk && is_cjk(code)) {
      out += ' ';
      out.append(text, begin, position - begin);
      out += ' ';
    } else {
      out.append(text, begin, position - begin);
    }
  }
  return out;
}

std::string without_marks(std::string_view text) {
  const std::string apart = decompose(text);
  std::string out;
  out.reserve(apart.size());
  for (std::size_t position = 0; position < apart.size();) {
    const std::size_t begin = position;
    if (!is_bert_mark(next_code_point(apart, position))) out.append(apart, begin, position - begin);
  }
  return out;
}

}  // namespace

WordPieceModel::WordPieceModel(Vocabulary vocabulary, WordPieceOptions options, const std::string& where)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  for (const auto& [token, id] : vocabulary_) size_ = std::max(size_, id + 1);
  unknown_ = id_of(options_.unknown);
  if (unknown_ < 0)
    throw DataError(concat(where, ": the vocabulary lacks the unknown token \"", options_.unknown, "\"."));
}

TokenId WordPieceModel::id_of(const std::string& token) const {
  const auto found = vocabulary_.find(token);
  return found == vocabulary_.end() ? -1 : found->second;
}

std::string WordPieceModel::normalize(std::string_view text) const {
  std::string out = clean(text, options_.spaces_cjk);
  if (options_.strips_accents) out = without_marks(out);
  return options_.is_lower_case ? lower_case(out) : out;
}

void WordPieceModel::encode(std::string_view normalized, std::vector<TokenId>& ids) const {
  std::size_t begin = 0;
  const auto close = [&](std::size_t end) {
    if (end > begin) encode_word(normalized.substr(begin, end - begin), ids);
  };
  for (std::size_t position = 0; position < normalized.size();) {
    const std::size_t here = position;
    const char32_t code = next_code_point(normalized, position);
    const bool is_mark = is_bert_punctuation(code);
    if (!is_mark && !is_space(code)) continue;
    close(here);
    if (is_mark) encode_word(normalized.substr(here, position - here), ids);
    begin = position;
  }
  close(normalized.size());
}

void WordPieceModel::encode_word(std::string_view word, std::vector<TokenId>& ids) const {
  std::vector<std::size_t> ends;  // of its characters
  for (std::size_t position = 0; position < word.size();) {
    next_code_point(word, position);
    ends.push_back(position);
    if (ends.size() > options_.max_word_characters) {
      ids.push_back(unknown_);
      return;
    }
  }
  const std::size_t first = ids.size();
  std::size_t begin = 0;
  while (begin < word.size()) {
    TokenId found = -1;
    std::size_t end = 0;
    // Longest first.
    for (auto candidate = ends.rbegin(); candidate != ends.rend() && *candidate > begin && found < 0; ++candidate) {
      end = *candidate;
      found = id_of((begin > 0 ? options_.prefix : "") + std::string(word.substr(begin, end - begin)));
    }
    if (found < 0) {
      ids.resize(first);
      ids.push_back(unknown_);
      return;
    }
    ids.push_back(found);
    begin = end;
  }
}

}  // namespace thaw::text
