#pragma once
// The unigram model of SentencePiece, as T5 uses it. Kudo 2018.

#include <optional>

#include "text/tokens/byte_pair.h"

namespace thaw::text {

/// The table by which SentencePiece rewrites characters: a double array of prefixes (Aoe 1989) and their replacements.
class CharacterMap {
 public:
  CharacterMap() = default;
  /// Throws DataError for a table that points outside itself.
  CharacterMap(std::string_view table, const std::string& where);
  /// With the peer's rule: a whole grapheme of less than 6 bytes is replaced by what its shortest known prefix becomes.
  std::string apply(std::string_view text) const;

 private:
  /// What the shortest known prefix becomes.
  std::optional<std::string_view> replacement(std::string_view text) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

struct UnigramFiles {
  std::vector<std::pair<std::string, double>> pieces{};  // with their log probabilities; ids in this order
  std::string character_map{};                           // empty: none
  TokenId unknown = 0;
};

class UnigramModel : public TokenModel {
 public:
  UnigramModel(const UnigramFiles& files, const std::string& where);

  std::string normalize(std::string_view text) const override;
  void encode(std::string_view normalized, std::vector<TokenId>& ids) const override;
  TokenId size() const override { return static_cast<TokenId>(scores_.size()); }
  TokenId id_of(const std::string& token) const override;
  const char* kind() const override { return "t5"; }

 private:
  void encode_word(std::string_view word, std::vector<TokenId>& ids) const;
  /// The child of a node of the prefix tree, or -1.
  std::int64_t child(std::int64_t node, unsigned char byte) const;
  void insert(const std::string& piece, TokenId id);

  CharacterMap map_;
  Vocabulary vocabulary_;
  std::vector<double> scores_;
  std::unordered_map<std::uint64_t, std::int64_t> children_;  // (node, byte) -> node
  std::vector<TokenId> piece_at_;                             // by node; -1: none ends there
  TokenId unknown_ = 0;
  double unknown_score_ = 0.0;
};

}  // namespace thaw::text
