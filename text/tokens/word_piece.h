#pragma once
// WordPiece as BERT uses it. Wu et al. 2016; Devlin et al. 2019.

#include "text/tokens/byte_pair.h"

namespace thaw::text {

struct WordPieceOptions {
  std::string unknown = "[UNK]";
  std::string prefix = "##";  // of pieces within a word
  std::size_t max_word_characters = 100;
  bool is_lower_case = true;
  bool strips_accents = true;
  bool spaces_cjk = true;
};

class WordPieceModel : public TokenModel {
 public:
  WordPieceModel(Vocabulary vocabulary, WordPieceOptions options, const std::string& where);

  std::string normalize(std::string_view text) const override;
  void encode(std::string_view normalized, std::vector<TokenId>& ids) const override;
  TokenId size() const override { return size_; }
  TokenId id_of(const std::string& token) const override;
  const char* kind() const override { return "bert"; }

 private:
  void encode_word(std::string_view word, std::vector<TokenId>& ids) const;

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  TokenId size_ = 0, unknown_ = 0;
};

}  // namespace thaw::text
