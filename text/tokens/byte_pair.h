#pragma once
// Byte-pair encoding as CLIP uses it: bytes as letters, words closed with "</w>". Sennrich et al. 2016; Radford et al.
// 2021.

#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/tokens/tokenizer.h"

namespace thaw::text {

using Vocabulary = std::unordered_map<std::string, TokenId>;

struct BytePairFiles {
  Vocabulary vocabulary{};
  std::vector<std::pair<std::string, std::string>> merges{};
  std::string unknown{};
};

class BytePairModel : public TokenModel {
 public:
  /// Throws DataError naming the merge whose parts or result are no tokens. `where` begins its messages.
  BytePairModel(BytePairFiles files, const std::string& where);

  std::string normalize(std::string_view text) const override;
  void encode(std::string_view normalized, std::vector<TokenId>& ids) const override;
  TokenId size() const override { return size_; }
  TokenId id_of(const std::string& token) const override;
  const char* kind() const override { return "clip"; }

 private:
  struct Merge {
    std::size_t rank;
    TokenId result;
  };
  void encode_word(std::string_view word, std::vector<TokenId>& ids) const;
  const Merge* merge_of(TokenId left, TokenId right) const;

  Vocabulary vocabulary_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  TokenId size_ = 0, unknown_ = -1;
  TokenId inner_[256], last_[256];  // of a byte within a word, and at its end; -1: none
};

}  // namespace thaw::text
