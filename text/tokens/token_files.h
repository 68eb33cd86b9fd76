#pragma once
// What the files of a tokenizer's folder say, before it is known what kind of tokenizer they make.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "text/tokens/byte_pair.h"
#include "text/tokens/tokenizer.h"

namespace thaw::text {

/// An added token as a file spells it; the id is known only once the vocabulary is.
struct TokenSpec {
  AddedToken token{};
  std::optional<TokenId> id{};  // where the file says so
};

/// tokenizer_config.json, special_tokens_map.json, added_tokens.json and tokenizer.json's added tokens, put together in
/// the order in which transformers 5.23 does.
struct TokenSettings {
  std::string class_name{};                  // without "Fast"; empty where nothing says so
  std::map<std::string, TokenSpec> named{};  // bos_token, eos_token, ...
  std::vector<TokenSpec> added{}, extra{};
  std::int64_t max_length = 0, extra_ids = 100;
  bool is_lower_case = true, spaces_cjk = true;
  std::optional<bool> strips_accents{};
};

TokenSettings read_token_settings(const std::filesystem::path& folder, const nlohmann::json& tokenizer_json);

/// Ids distinct and in [0, 2^24). Throws DataError.
Vocabulary read_vocabulary(const nlohmann::json& object, const std::string& where);
Vocabulary read_vocabulary_lines(const std::filesystem::path& path);
std::vector<std::pair<std::string, std::string>> read_merges(const nlohmann::json& list, const std::string& where);
std::vector<std::pair<std::string, std::string>> read_merge_lines(const std::filesystem::path& path);
/// RFC 4648, section 4. Throws DataError.
std::string decode_base64(std::string_view text, const std::string& where);

}  // namespace thaw::text
