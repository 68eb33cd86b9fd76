#include "text/tokens/token_files.h"

#include <algorithm>
#include <set>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "text/tokens/unicode.h"

namespace thaw::text {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::uint64_t kMaxBytes = 1 << 26;
constexpr TokenId kMaxId = 1 << 24;

TokenId expect_id(const json& value, const std::string& where, const std::string& token) {
  if (!value.is_number_integer() || value.get<double>() < 0 || value.get<double>() >= static_cast<double>(kMaxId))
    throw DataError(
        concat(where, ": token \"", token, "\": expected an id in [0, ", kMaxId, "), got ", value.dump(), "."));
  return value.get<TokenId>();
}

bool flag(const json& object, const char* key, bool fallback, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return fallback;
  if (!found->is_boolean())
    throw DataError(concat(where, ": ", key, ": expected true or false, got ", found->dump(), "."));
  return found->get<bool>();
}

// A name, or an object with content and flags. A bare name is a special token, looked for in the text as it stands.
TokenSpec read_token(const json& value, const std::string& where) {
  TokenSpec spec;
  if (value.is_string()) {
    spec.token.content = value.get<std::string>();
    return spec;
  }
  if (!value.is_object() || !value.contains("content") || !value.at("content").is_string())
    throw DataError(concat(where, ": expected a token as a name or as an object with \"content\"."));
  spec.token.content = value.at("content").get<std::string>();
  spec.token.strips_left = flag(value, "lstrip", false, where);
  spec.token.strips_right = flag(value, "rstrip", false, where);
  spec.token.is_normalized = flag(value, "normalized", !flag(value, "special", true, where), where);
  if (flag(value, "single_word", false, where))
    throw DataError(concat(where, ": token \"", spec.token.content, "\": single_word is not supported."));
  if (value.contains("id")) spec.id = expect_id(value.at("id"), where, spec.token.content);
  return spec;
}

json read_object(const fs::path& path) {
  if (!fs::exists(path)) return json::object();
  json values = parse_json_file(path, kMaxBytes);
  if (!values.is_object()) throw DataError(concat(path.string(), ": expected an object."));
  return values;
}

const std::set<std::string>& named_tokens() {
  static const std::set<std::string> names{"bos_token", "eos_token", "unk_token", "sep_token",
                                           "pad_token", "cls_token", "mask_token"};
  return names;
}

/// Keys of tokenizer_config.json without a bearing on the ids of one text, or read elsewhere.
bool is_known_key(const std::string& key) {
  static const std::set<std::string> known{"tokenizer_class",
                                           "model_max_length",
                                           "do_lower_case",
                                           "strip_accents",
                                           "tokenize_chinese_chars",
                                           "extra_ids",
                                           "added_tokens_decoder",
                                           "additional_special_tokens",
                                           "extra_special_tokens",
                                           "padding_side",
                                           "split_special_tokens",
                                           "single_word",
                                           "name_or_path",
                                           "special_tokens_map_file",
                                           "errors",
                                           "clean_up_tokenization_spaces",
                                           "truncation_side",
                                           "truncation_strategy",
                                           "legacy",
                                           "sp_model_kwargs",
                                           "max_length",
                                           "stride",
                                           "pad_to_multiple_of",
                                           "pad_token_type_id",
                                           "do_basic_tokenize",
                                           "never_split",
                                           "is_local",
                                           "local_files_only",
                                           "backend",
                                           "processor_class",
                                           "tokenizer_file",
                                           "vocab_file",
                                           "merges_file",
                                           "model_input_names",
                                           "init_inputs",
                                           "auto_map",
                                           "add_prefix_space",
                                           "use_fast",
                                           "unk_id",
                                           "add_bos_token",
                                           "add_eos_token",
                                           "return_tensors",
                                           "transformers_version"};
  return known.count(key) > 0 || named_tokens().count(key) > 0 || key.starts_with("_");
}

void read_extra(const json& values, const std::string& key, const std::string& where, TokenSettings& settings) {
  const auto found = values.find(key);
  if (found == values.end() || found->is_null()) return;
  if (!found->is_array()) throw DataError(concat(where, ": ", key, ": expected a list of tokens."));
  for (const json& one : *found) settings.extra.push_back(read_token(one, concat(where, ": ", key)));
}

void read_config(const json& values, const std::string& where, TokenSettings& settings) {
  for (const auto& [key, value] : values.items())
    if (!is_known_key(key)) throw DataError(concat(where, ": ", key, ": this key is not read."));
  const auto text = [&](const char* key) {
    const auto found = values.find(key);
    return found != values.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  settings.class_name = text("tokenizer_class");
  if (settings.class_name.ends_with("Fast")) settings.class_name.resize(settings.class_name.size() - 4);
  if (const std::string side = text("padding_side"); !side.empty() && side != "right")
    throw DataError(concat(where, ": padding_side: expected \"right\", got \"", side, "\"."));
  if (flag(values, "split_special_tokens", false, where))
    throw DataError(concat(where, ": split_special_tokens: expected false, got true."));
  settings.is_lower_case = flag(values, "do_lower_case", true, where);
  settings.spaces_cjk = flag(values, "tokenize_chinese_chars", true, where);
  if (values.contains("strip_accents") && !values.at("strip_accents").is_null())
    settings.strips_accents = flag(values, "strip_accents", true, where);
  if (const auto found = values.find("extra_ids"); found != values.end())
    settings.extra_ids = expect_id(*found, where, "extra_ids");
  // Without a limit the peer writes 1e30.
  if (const auto found = values.find("model_max_length");
      found != values.end() && found->is_number() && found->get<double>() >= 1 && found->get<double>() <= 1e6)
    settings.max_length = static_cast<std::int64_t>(found->get<double>());
  read_extra(values, "additional_special_tokens", where, settings);
  read_extra(values, "extra_special_tokens", where, settings);
}

void read_named(const json& values, const std::string& where, TokenSettings& settings) {
  for (const std::string& name : named_tokens())
    if (const auto found = values.find(name); found != values.end() && !found->is_null())
      settings.named[name] = read_token(*found, concat(where, ": ", name));
}

// The older places: special_tokens_map.json, added_tokens.json, tokenizer.json.
void read_legacy(const fs::path& folder, const json& tokenizer_json, TokenSettings& settings) {
  const fs::path map_path = folder / "special_tokens_map.json", added_path = folder / "added_tokens.json";
  const json map = read_object(map_path);
  read_named(map, map_path.string(), settings);
  read_extra(map, "additional_special_tokens", map_path.string(), settings);
  const json added = read_object(added_path);
  for (const auto& [content, id] : added.items()) {
    TokenSpec spec;
    spec.token.content = content;
    spec.id = expect_id(id, added_path.string(), content);
    spec.token.is_normalized =
        std::none_of(settings.named.begin(), settings.named.end(),
                     [&content = content](const auto& one) { return one.second.token.content == content; });
    settings.added.push_back(std::move(spec));
  }
  const auto list = tokenizer_json.find("added_tokens");
  if (list == tokenizer_json.end()) return;
  const std::string where = (folder / "tokenizer.json").string();
  if (!list->is_array()) throw DataError(concat(where, ": added_tokens: expected a list."));
  for (const json& one : *list) settings.added.push_back(read_token(one, concat(where, ": added_tokens")));
}

}  // namespace

TokenSettings read_token_settings(const fs::path& folder, const json& tokenizer_json) {
  TokenSettings settings;
  const fs::path path = folder / "tokenizer_config.json";
  const json values = read_object(path);
  read_config(values, path.string(), settings);
  read_named(values, path.string(), settings);
  const auto decoder = values.find("added_tokens_decoder");
  if (decoder == values.end()) {
    read_legacy(folder, tokenizer_json, settings);
  } else {
    if (!decoder->is_object()) throw DataError(concat(path.string(), ": added_tokens_decoder: expected an object."));
    for (const auto& [id, value] : decoder->items()) {
      TokenSpec spec = read_token(value, concat(path.string(), ": added_tokens_decoder"));
      if (id.empty() || id.size() > 8 || id.find_first_not_of("0123456789") != std::string::npos)
        throw DataError(concat(path.string(), ": added_tokens_decoder: expected an id, got \"", id, "\"."));
      spec.id = expect_id(std::stoll(id), path.string(), spec.token.content);
      settings.added.push_back(std::move(spec));
    }
  }
  std::stable_sort(settings.added.begin(), settings.added.end(),
                   [](const TokenSpec& a, const TokenSpec& b) { return a.id.value_or(0) < b.id.value_or(0); });
  // A token that is listed with its flags keeps them where it is named only.
  for (auto& [name, spec] : settings.named)
    for (const TokenSpec& one : settings.added)
      if (one.token.content == spec.token.content) spec = one;
  return settings;
}

Vocabulary read_vocabulary(const json& object, const std::string& where) {
  if (!object.is_object()) throw DataError(concat(where, ": expected an object of tokens and ids."));
  Vocabulary vocabulary;
  std::unordered_map<TokenId, std::string> owners;
  for (const auto& [token, value] : object.items()) {
    const TokenId id = expect_id(value, where, token);
    const auto [owner, is_new] = owners.emplace(id, token);
    if (!is_new)
      throw DataError(concat(where, ": tokens \"", owner->second, "\" and \"", token, "\" have one id, ", id, "."));
    vocabulary.emplace(token, id);
  }
  if (vocabulary.empty()) throw DataError(concat(where, ": the vocabulary is empty."));
  return vocabulary;
}

namespace {

std::vector<std::string> read_lines(const fs::path& path) {
  const std::string bytes = read_file(path, kMaxBytes);
  if (!is_utf8(bytes)) throw DataError(concat(path.string(), ": is not UTF-8."));
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', begin), bytes.size());
    lines.push_back(bytes.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::pair<std::string, std::string> split_merge(const std::string& line, const std::string& where, std::size_t number) {
  const std::size_t space = line.find(' ');
  if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos)
    throw DataError(concat(where, ": merge ", number, ": expected two parts with a space between, got \"",
                           line.substr(0, 40), "\"."));
  return {line.substr(0, space), line.substr(space + 1)};
}

}  // namespace

Vocabulary read_vocabulary_lines(const fs::path& path) {
  Vocabulary vocabulary;
  const std::vector<std::string> lines = read_lines(path);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    std::size_t end = 0;  // without the white space at the end
    for (std::size_t position = 0; position < line.size();)
      if (!is_space(next_code_point(line, position))) end = position;
    if (end == 0) continue;
    const auto [place, is_new] = vocabulary.emplace(line.substr(0, end), static_cast<TokenId>(i));
    if (!is_new)
      throw DataError(concat(path.string(), ":", i + 1, ": token \"", place->first, "\" stands on line ",
                             place->second + 1, " already."));
  }
  if (vocabulary.empty()) throw DataError(concat(path.string(), ": the vocabulary is empty."));
  return vocabulary;
}

std::vector<std::pair<std::string, std::string>> read_merge_lines(const fs::path& path) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (std::string& line : read_lines(path)) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.starts_with("#version")) merges.push_back(split_merge(line, path.string(), merges.size() + 1));
  }
  return merges;
}

std::vector<std::pair<std::string, std::string>> read_merges(const json& list, const std::string& where) {
  if (!list.is_array()) throw DataError(concat(where, ": merges: expected a list."));
  std::vector<std::pair<std::string, std::string>> merges;
  for (const json& one : list) {
    if (one.is_string())
      merges.push_back(split_merge(one.get<std::string>(), where, merges.size() + 1));
    else if (one.is_array() && one.size() == 2 && one[0].is_string() && one[1].is_string())
      merges.emplace_back(one[0].get<std::string>(), one[1].get<std::string>());
    else
      throw DataError(concat(where, ": merge ", merges.size() + 1, ": expected two tokens."));
  }
  return merges;
}

std::string decode_base64(std::string_view text, const std::string& where) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char character : text) {
    const std::size_t value = kDigits.find(character);
    if (value == std::string_view::npos) throw DataError(concat(where, ": precompiled_charsmap is no base64."));
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if ((count += 6) < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xFF);
  }
  return out;
}

}  // namespace thaw::text
