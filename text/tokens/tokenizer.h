#pragma once
// Text to the ids that a published text encoder was trained on. Behaviour is that of transformers 5.23.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thaw::text {

using TokenId = std::int64_t;

/// A token with its own rule: found in the text before anything else looks at it.
struct AddedToken {
  std::string content{};
  TokenId id = 0;
  bool strips_left = false, strips_right = false;  // takes the white space there with it
  bool is_normalized = false;                      // is looked for in the normalised text
};

/// The vocabulary's own way from a piece of text without added tokens to ids.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual std::string normalize(std::string_view text) const = 0;
  /// Splits normalised text into words and appends their ids.
  virtual void encode(std::string_view normalized, std::vector<TokenId>& ids) const = 0;
  /// One more than the largest id.
  virtual TokenId size() const = 0;
  /// -1 where the vocabulary has no such token.
  virtual TokenId id_of(const std::string& token) const = 0;
  /// "clip", "t5" or "bert".
  virtual const char* kind() const = 0;
};

/// What stands around the ids of a text, and how rows of one batch come to one length.
struct Frame {
  std::vector<TokenId> before{}, after{};
  TokenId pad = 0;
  std::int64_t max_length = 0;  // with `before` and `after`; 0: not said
};

/// Ids [N][L] of one length; mask 1 where a token of the text or of the frame stands.
struct TokenRows {
  std::vector<std::vector<TokenId>> ids{}, mask{};
};

class Tokenizer {
 public:
  Tokenizer(std::unique_ptr<TokenModel> model, std::vector<AddedToken> added, Frame frame);

  /// Ids of the text alone. Throws ConfigError for text that is not UTF-8.
  std::vector<TokenId> encode(std::string_view text) const;
  /// With what stands around them.
  std::vector<TokenId> encode_framed(std::string_view text) const;
  /// Cut and padded to `length`, or to the longest row where it is 0 (then cut at max_length).
  TokenRows encode_rows(std::span<const std::string> texts, std::int64_t length = 0) const;

  const Frame& frame() const { return frame_; }
  const char* kind() const { return model_->kind(); }
  /// One more than the largest id, added tokens included.
  TokenId size() const;
  TokenId id_of(const std::string& token) const;

 private:
  void encode_normalized(std::string_view text, std::vector<TokenId>& ids) const;

  std::unique_ptr<TokenModel> model_;
  std::vector<AddedToken> raw_, normalized_;
  Frame frame_;
};

/// Reads a folder in one of the layouts of transformers: tokenizer.json, or vocab.json with merges.txt, vocab.txt or
/// spiece.model, each with tokenizer_config.json and special_tokens_map.json where they are. Throws DataError.
Tokenizer open_tokenizer(const std::filesystem::path& folder);

}  // namespace thaw::text
