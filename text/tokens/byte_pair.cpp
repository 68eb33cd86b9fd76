#include "text/tokens/byte_pair.h"

#include <algorithm>
#include <queue>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw::text {

namespace {

/// GPT-2's bytes_to_unicode: printable bytes stand for themselves, the others for U+0100 and on.
std::string letter_of_byte(int byte) {
  const auto prints = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255); };
  char32_t code = static_cast<char32_t>(byte);
  if (!prints(byte)) {
    code = 0x100;
    for (int b = 0; b < byte; ++b) code += prints(b) ? 0 : 1;
  }
  std::string letter;
  append_code_point(letter, code);
  return letter;
}

std::uint64_t pair_key(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

/// Two symbols of a word that could become one; a stale one is told by its right neighbour or its result.
struct Candidate {
  std::size_t rank, position;
  TokenId result;
  bool operator>(const Candidate& other) const {
    return std::pair(rank, position) > std::pair(other.rank, other.position);
  }
};

struct Symbol {
  TokenId id;
  std::ptrdiff_t previous, next;
  bool is_gone = false;
};

/// CLIP's regular expression at one position; 0 where none of its forms begins there.
///
///   <|startoftext|> | <|endoftext|> | 's | 't | 're | 've | 'm | 'll | 'd | [\p{L}]+ | [\p{N}] | [^\s\p{L}\p{N}]+
std::size_t word_end(std::string_view text, std::size_t begin) {
  for (const std::string_view fixed : {"<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.substr(begin, fixed.size()) == fixed) return begin + fixed.size();
  std::size_t end = begin;
  const char32_t first = next_code_point(text, end);
  if (is_space(first)) return 0;
  if (is_number(first)) return end;
  const bool wants_letters = is_letter(first);
  while (end < text.size()) {
    std::size_t next = end;
    const char32_t code = next_code_point(text, next);
    const bool is_other = !is_letter(code) && !is_number(code) && !is_space(code);
    if (wants_letters ? !is_letter(code) : !is_other) break;
    end = next;
  }
  return end;
}

}  // namespace

BytePairModel::BytePairModel(BytePairFiles files, const std::string& where) : vocabulary_(std::move(files.vocabulary)) {
  for (const auto& [token, id] : vocabulary_) size_ = std::max(size_, id + 1);
  const auto expect = [&](const std::string& token, std::size_t rank) {
    const auto found = vocabulary_.find(token);
    if (found == vocabulary_.end())
      throw DataError(
          concat(where, ": merge ", rank + 1, " needs the token \"", token, "\", which the vocabulary lacks."));
    return found->second;
  };
  for (std::size_t rank = 0; rank < files.merges.size(); ++rank) {
    const auto& [left, right] = files.merges[rank];
    if (left.empty() || right.empty()) throw DataError(concat(where, ": merge ", rank + 1, " has an empty part."));
    merges_[pair_key(expect(left, rank), expect(right, rank))] = {rank, expect(left + right, rank)};
  }
  if (!files.unknown.empty()) unknown_ = expect(files.unknown, 0);
  for (int byte = 0; byte < 256; ++byte) {
    const std::string letter = letter_of_byte(byte);
    inner_[byte] = id_of(letter) < 0 ? unknown_ : id_of(letter);
    last_[byte] = id_of(letter + "</w>") < 0 ? unknown_ : id_of(letter + "</w>");
  }
}

TokenId BytePairModel::id_of(const std::string& token) const {
  const auto found = vocabulary_.find(token);
  return found == vocabulary_.end() ? -1 : found->second;
}

const BytePairModel::Merge* BytePairModel::merge_of(TokenId left, TokenId right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::string BytePairModel::normalize(std::string_view text) const {
  const std::string composed = compose(text);
  std::string spaced;
  spaced.reserve(composed.size());
  bool was_space = false;
  for (std::size_t position = 0; position < composed.size();) {
    const std::size_t begin = position;
    const bool is_blank = is_space(next_code_point(composed, position));
    if (is_blank && !was_space) spaced += ' ';
    if (!is_blank) spaced.append(composed, begin, position - begin);
    was_space = is_blank;
  }
  return lower_case(spaced);
}

void BytePairModel::encode(std::string_view normalized, std::vector<TokenId>& ids) const {
  for (std::size_t position = 0; position < normalized.size();) {
    const std::size_t end = word_end(normalized, position);
    if (end == 0) {
      next_code_point(normalized, position);
      continue;
    }
    const std::string_view word = normalized.substr(position, end - position);
    if (word.starts_with("<|") && word.ends_with("|>") && word.size() > 4 &&
        is_letter(static_cast<char32_t>(word[2]))) {
      // The byte-level splitting that follows takes the literal apart again: "<|", letters, "|>".
      encode_word(word.substr(0, 2), ids);
      encode_word(word.substr(2, word.size() - 4), ids);
      encode_word(word.substr(word.size() - 2), ids);
    } else {
      encode_word(word, ids);
    }
    position = end;
  }
}

void BytePairModel::encode_word(std::string_view word, std::vector<TokenId>& ids) const {
  std::vector<Symbol> symbols;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    const TokenId id = i + 1 == word.size() ? last_[byte] : inner_[byte];
    if (id < 0) continue;  // without an unknown token the peer drops it
    const auto at = static_cast<std::ptrdiff_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;

  // Lowest rank first, leftmost of equals.
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::ptrdiff_t left) {
    if (left < 0) return;
    const Symbol& symbol = symbols[static_cast<std::size_t>(left)];
    if (symbol.next < 0) return;
    if (const Merge* merge = merge_of(symbol.id, symbols[static_cast<std::size_t>(symbol.next)].id))
      queue.push({merge->rank, static_cast<std::size_t>(left), merge->result});
  };
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) offer(static_cast<std::ptrdiff_t>(i));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.position];
    if (left.is_gone || left.next < 0) continue;
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    const Merge* merge = merge_of(left.id, right.id);
    if (merge == nullptr || merge->result != top.result) continue;
    left.id = top.result;
    left.next = right.next;
    right.is_gone = true;
    if (left.next >= 0)
      symbols[static_cast<std::size_t>(left.next)].previous = static_cast<std::ptrdiff_t>(top.position);
    offer(left.previous);
    offer(static_cast<std::ptrdiff_t>(top.position));
  }
  for (const Symbol& symbol : symbols)
    if (!symbol.is_gone) ids.push_back(symbol.id);
}

}  // namespace thaw::text
