#include "text/tokens/unigram.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw::text {

namespace {

constexpr const char* kSpaceMark = "\xE2\x96\x81";  // U+2581 stands for the space before a word
constexpr std::size_t kSpaceMarkBytes = 3;
constexpr double kUnknownPenalty = 10.0;   // below the least probable piece
constexpr std::size_t kGraphemeBytes = 6;  // graphemes below this are rewritten whole

// Fields of a unit of the double array (darts-clone).
std::size_t offset_of(std::uint32_t unit) {
  return static_cast<std::size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6);
}
std::uint32_t label_of(std::uint32_t unit) {
  return unit & ((1u << 31) | 0xFFu);
}
bool has_leaf(std::uint32_t unit) {
  return ((unit >> 8) & 1u) == 1u;
}
std::size_t value_of(std::uint32_t unit) {
  return unit & ((1u << 31) - 1);
}

struct Node {
  double score = 0.0;
  std::ptrdiff_t begin = -1;  // of the best piece that ends here; -1: none does
  TokenId id = 0;
};

}  // namespace

CharacterMap::CharacterMap(std::string_view table, const std::string& where) {
  std::uint32_t bytes = 0;
  if (table.size() < sizeof bytes) throw DataError(concat(where, ": the character map is cut off."));
  std::memcpy(&bytes, table.data(), sizeof bytes);
  if (bytes == 0 || bytes % 4 != 0 || bytes > table.size() - sizeof bytes)
    throw DataError(
        concat(where, ": the character map claims ", bytes, " bytes of prefixes in a table of ", table.size(), "."));
  units_.resize(bytes / 4);
  std::memcpy(units_.data(), table.data() + sizeof bytes, bytes);
  replacements_ = table.substr(sizeof bytes + bytes);
  if (!is_utf8(replacements_)) throw DataError(concat(where, ": the character map's replacements are not UTF-8."));
}

std::optional<std::string_view> CharacterMap::replacement(std::string_view text) const {
  std::size_t node = offset_of(units_[0]);
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == 0) return std::nullopt;
    node ^= byte;
    // A hostile table points outside itself; nothing is known there.
    if (node >= units_.size() || label_of(units_[node]) != byte) return std::nullopt;
    const std::uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size() || value_of(units_[node]) > replacements_.size()) return std::nullopt;
    const std::string_view rest = std::string_view(replacements_).substr(value_of(units_[node]));
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

std::string CharacterMap::apply(std::string_view text) const {
  if (units_.empty()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0;
  for (const std::size_t end : grapheme_ends(text)) {
    const std::string_view grapheme = text.substr(begin, end - begin);
    begin = end;
    if (grapheme.size() < kGraphemeBytes) {
      if (const auto whole = replacement(grapheme)) {
        out += *whole;
        continue;
      }
    }
    for (std::size_t position = 0; position < grapheme.size();) {
      const std::size_t first = position;
      next_code_point(grapheme, position);
      const std::string_view character = grapheme.substr(first, position - first);
      out += replacement(character).value_or(character);
    }
  }
  return out;
}

UnigramModel::UnigramModel(const UnigramFiles& files, const std::string& where) : unknown_(files.unknown) {
  if (files.pieces.empty()) throw DataError(concat(where, ": the vocabulary is empty."));
  if (unknown_ < 0 || unknown_ >= static_cast<TokenId>(files.pieces.size()))
    throw DataError(
        concat(where, ": the unknown token has id ", unknown_, ", expected one below ", files.pieces.size(), "."));
  if (!files.character_map.empty()) map_ = CharacterMap(files.character_map, where);
  piece_at_.push_back(-1);
  double least = INFINITY;
  for (const auto& [piece, score] : files.pieces) {
    const auto id = static_cast<TokenId>(scores_.size());
    if (!std::isfinite(score))
      throw DataError(
          concat(where, ": piece ", id, " has the score ", format_double(score), ", expected a finite one."));
    if (!vocabulary_.emplace(piece, id).second)
      throw DataError(
          concat(where, ": piece ", id, " stands in the vocabulary twice, first as ", vocabulary_[piece], "."));
    insert(piece, id);
    scores_.push_back(score);
    least = std::min(least, score);
  }
  unknown_score_ = least - kUnknownPenalty;
}

void UnigramModel::insert(const std::string& piece, TokenId id) {
  std::int64_t node = 0;
  for (const char character : piece) {
    const auto key = static_cast<std::uint64_t>(node) << 8 | static_cast<unsigned char>(character);
    const auto [place, is_new] = children_.emplace(key, static_cast<std::int64_t>(piece_at_.size()));
    if (is_new) piece_at_.push_back(-1);
    node = place->second;
  }
  if (!piece.empty()) piece_at_[static_cast<std::size_t>(node)] = id;
}

std::int64_t UnigramModel::child(std::int64_t node, unsigned char byte) const {
  const auto found = children_.find(static_cast<std::uint64_t>(node) << 8 | byte);
  return found == children_.end() ? -1 : found->second;
}

TokenId UnigramModel::id_of(const std::string& token) const {
  const auto found = vocabulary_.find(token);
  return found == vocabulary_.end() ? -1 : found->second;
}

std::string UnigramModel::normalize(std::string_view text) const {
  return map_.apply(text);
}

void UnigramModel::encode(std::string_view normalized, std::vector<TokenId>& ids) const {
  const auto encode_spaced = [&](std::string_view spaced) {
    std::string word(spaced);
    if (!word.starts_with(kSpaceMark)) word.insert(0, kSpaceMark);
    // A mark written in the text begins a word of its own.
    std::size_t begin = 0;
    while (begin < word.size()) {
      const std::size_t end = std::min(word.find(kSpaceMark, begin + kSpaceMarkBytes), word.size());
      encode_word(std::string_view(word).substr(begin, end - begin), ids);
      begin = end;
    }
  };
  std::size_t begin = 0;
  for (std::size_t position = 0; position < normalized.size();) {
    const std::size_t here = position;
    if (!is_space(next_code_point(normalized, position))) continue;
    if (here > begin) encode_spaced(normalized.substr(begin, here - begin));
    begin = position;
  }
  if (begin < normalized.size()) encode_spaced(normalized.substr(begin));
}

// Viterbi over bytes; the first of equals stays.
void UnigramModel::encode_word(std::string_view word, std::vector<TokenId>& ids) const {
  std::vector<Node> best(word.size() + 1);
  const auto offer = [&](std::size_t begin, std::size_t end, TokenId id, double score) {
    const double total = best[begin].score + score;
    if (best[end].begin >= 0 && total <= best[end].score) return;
    best[end] = {total, static_cast<std::ptrdiff_t>(begin), id};
  };
  for (std::size_t begin = 0; begin < word.size();) {
    std::size_t after = begin;
    next_code_point(word, after);
    bool covers_character = false;
    std::int64_t node = 0;
    for (std::size_t end = begin; end < word.size();) {
      node = child(node, static_cast<unsigned char>(word[end++]));
      if (node < 0) break;
      const TokenId id = piece_at_[static_cast<std::size_t>(node)];
      if (id < 0) continue;
      offer(begin, end, id, scores_[static_cast<std::size_t>(id)]);
      covers_character = covers_character || end == after;
    }
    if (!covers_character) offer(begin, after, unknown_, unknown_score_);
    begin = after;
  }

  std::vector<TokenId> backwards;
  std::size_t end = word.size();
  while (end > 0) {
    std::size_t begin = static_cast<std::size_t>(best[end].begin);
    TokenId id = best[end].id;
    if (id == unknown_) {
      // A run of unknown characters is one token, unless it spells a piece.
      while (begin > 0 && best[begin].id == unknown_) begin = static_cast<std::size_t>(best[begin].begin);
      const TokenId spelt = id_of(std::string(word.substr(begin, end - begin)));
      if (spelt >= 0) id = spelt;
    }
    backwards.push_back(id);
    end = begin;
  }
  ids.insert(ids.end(), backwards.rbegin(), backwards.rend());
}

}  // namespace thaw::text
