// The folder of a published tokenizer: which kind it is, and the three kinds put together.

#include <algorithm>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "text/tokens/piece_file.h"
#include "text/tokens/token_files.h"
#include "text/tokens/unicode.h"
#include "text/tokens/unigram.h"
#include "text/tokens/word_piece.h"

namespace thaw::text {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::int64_t kMaxExtraIds = 10000;
// T5Tokenizer fixes the place of its unknown token, whatever the files say.
constexpr TokenId kT5Unknown = 2;

struct Source {
  fs::path folder;
  json tokenizer = json::object();  // tokenizer.json, or empty
  TokenSettings settings{};

  std::string where() const { return (folder / "tokenizer.json").string(); }
  bool has_tokenizer_json() const { return !tokenizer.empty(); }
  const json& model() const { return tokenizer.at("model"); }
  /// A named token of the settings, or the class's default.
  TokenSpec named(const std::string& name, const std::string& fallback) const {
    const auto found = settings.named.find(name);
    if (found != settings.named.end()) return found->second;
    TokenSpec spec;
    spec.token.content = fallback;
    return spec;
  }
};

std::string model_text(const json& model, const char* key) {
  const auto found = model.find(key);
  return found != model.end() && found->is_string() ? found->get<std::string>() : "";
}

/// Gives each added token its id: the vocabulary's, or the next free one. Throws DataError where a file says another.
std::vector<AddedToken> place_added(const TokenModel& model, const std::vector<TokenSpec>& specs,
                                    const std::string& where) {
  std::vector<AddedToken> added;
  TokenId next = model.size();
  for (const TokenSpec& spec : specs) {
    if (spec.token.content.empty()) continue;
    if (std::any_of(added.begin(), added.end(),
                    [&](const AddedToken& known) { return known.content == spec.token.content; }))
      continue;
    AddedToken token = spec.token;
    token.id = model.id_of(token.content);
    if (token.id < 0) token.id = next++;
    if (spec.id && *spec.id != token.id)
      throw DataError(concat(where, ": added token \"", token.content, "\" claims id ", *spec.id,
                             ", the vocabulary gives it ", token.id, "."));
    added.push_back(std::move(token));
  }
  return added;
}

std::vector<TokenSpec> all_added(const Source& source, const std::vector<TokenSpec>& named,
                                 const std::vector<TokenSpec>& extra) {
  std::vector<TokenSpec> all = source.settings.added;
  for (TokenSpec spec : named) {
    spec.id.reset();
    all.push_back(spec);
  }
  all.insert(all.end(), extra.begin(), extra.end());
  all.insert(all.end(), source.settings.extra.begin(), source.settings.extra.end());
  return all;
}

TokenId id_among(const std::vector<AddedToken>& added, const std::string& content) {
  for (const AddedToken& token : added)
    if (token.content == content) return token.id;
  throw Error(ExitCode::kBug, concat("special token \"", content, "\" was not placed"));
}

Tokenizer make_clip(const Source& source) {
  BytePairFiles files;
  std::string where = source.where();
  if (source.has_tokenizer_json()) {
    if (model_text(source.model(), "end_of_word_suffix") != "</w>")
      throw DataError(concat(where, ": end_of_word_suffix: expected \"</w>\" of a CLIP tokenizer."));
    files.vocabulary = read_vocabulary(source.model().value("vocab", json()), where);
    files.merges = read_merges(source.model().value("merges", json()), where);
  } else {
    where = (source.folder / "vocab.json").string();
    files.vocabulary = read_vocabulary(parse_json_file(source.folder / "vocab.json"), where);
    files.merges = read_merge_lines(source.folder / "merges.txt");
    where = (source.folder / "merges.txt").string();
  }
  const TokenSpec bos = source.named("bos_token", "<|startoftext|>"), eos = source.named("eos_token", "<|endoftext|>");
  const TokenSpec pad = source.named("pad_token", "<|endoftext|>"),
                  unknown = source.named("unk_token", "<|endoftext|>");
  files.unknown = unknown.token.content;
  auto model = std::make_unique<BytePairModel>(std::move(files), where);
  std::vector<AddedToken> added = place_added(*model, all_added(source, {bos, eos, unknown, pad}, {}), where);
  Frame frame{{id_among(added, bos.token.content)},
              {id_among(added, eos.token.content)},
              id_among(added, pad.token.content),
              source.settings.max_length};
  return {std::move(model), std::move(added), std::move(frame)};
}

Tokenizer make_bert(const Source& source) {
  const std::string where = source.has_tokenizer_json() ? source.where() : (source.folder / "vocab.txt").string();
  Vocabulary vocabulary = source.has_tokenizer_json() ? read_vocabulary(source.model().value("vocab", json()), where)
                                                      : read_vocabulary_lines(source.folder / "vocab.txt");
  const TokenSpec unknown = source.named("unk_token", "[UNK]"), sep = source.named("sep_token", "[SEP]"),
                  pad = source.named("pad_token", "[PAD]"), cls = source.named("cls_token", "[CLS]"),
                  mask = source.named("mask_token", "[MASK]");
  WordPieceOptions options;
  options.unknown = unknown.token.content;
  options.is_lower_case = source.settings.is_lower_case;
  options.strips_accents = source.settings.strips_accents.value_or(options.is_lower_case);
  options.spaces_cjk = source.settings.spaces_cjk;
  auto model = std::make_unique<WordPieceModel>(std::move(vocabulary), options, where);
  std::vector<AddedToken> added = place_added(*model, all_added(source, {unknown, sep, pad, cls, mask}, {}), where);
  Frame frame{{id_among(added, cls.token.content)},
              {id_among(added, sep.token.content)},
              id_among(added, pad.token.content),
              source.settings.max_length};
  return {std::move(model), std::move(added), std::move(frame)};
}

// Pieces with their scores and the character map out of tokenizer.json.
UnigramFiles read_unigram_json(const Source& source) {
  UnigramFiles files;
  const std::string where = source.where();
  const json vocabulary = source.model().value("vocab", json());
  if (!vocabulary.is_array()) throw DataError(concat(where, ": vocab: expected a list of pieces and scores."));
  for (const json& one : vocabulary) {
    if (!one.is_array() || one.size() != 2 || !one[0].is_string() || !one[1].is_number())
      throw DataError(concat(where, ": vocab: entry ", files.pieces.size(), ": expected a piece and its score."));
    files.pieces.emplace_back(one[0].get<std::string>(), one[1].get<double>());
  }
  const json normalizer = source.tokenizer.value("normalizer", json());
  json list = json::array({normalizer});
  if (normalizer.is_object() && normalizer.contains("normalizers")) list = normalizer.at("normalizers");
  for (const json& one : list)
    if (one.is_object() && model_text(one, "type") == "Precompiled" && files.character_map.empty())
      files.character_map = decode_base64(model_text(one, "precompiled_charsmap"), where);
  return files;
}

Tokenizer make_t5(const Source& source) {
  UnigramFiles files;
  std::vector<TokenSpec> extra;
  std::string where = source.where();
  const auto add_special = [&](const std::string& content) {
    extra.emplace_back();
    extra.back().token.content = content;
  };
  const std::int64_t extra_ids = source.settings.extra_ids;
  if (extra_ids > kMaxExtraIds)
    throw DataError(
        concat(source.folder.string(), ": extra_ids: expected at most ", kMaxExtraIds, ", got ", extra_ids, "."));
  if (source.has_tokenizer_json()) {
    files = read_unigram_json(source);
  } else {
    where = (source.folder / "spiece.model").string();
    PieceFile file = read_piece_file(where);
    if (file.model_type != 1)
      throw DataError(concat(where, ": expected a unigram model (type 1), found type ", file.model_type, "."));
    for (const Piece& piece : file.pieces) {
      files.pieces.emplace_back(piece.text, piece.score);
      if (piece.kind == Piece::kControl || piece.kind == Piece::kUserDefined) add_special(piece.text);
    }
    for (std::int64_t i = extra_ids - 1; i >= 0; --i) files.pieces.emplace_back(concat("<extra_id_", i, ">"), 0.0);
    files.character_map = std::move(file.character_map);
  }
  for (std::int64_t i = 0; i < extra_ids; ++i) add_special(concat("<extra_id_", i, ">"));
  files.unknown = kT5Unknown;
  auto model = std::make_unique<UnigramModel>(files, where);
  const TokenSpec eos = source.named("eos_token", "</s>"), unknown = source.named("unk_token", "<unk>"),
                  pad = source.named("pad_token", "<pad>");
  std::vector<AddedToken> added = place_added(*model, all_added(source, {eos, unknown, pad}, extra), where);
  Frame frame{{}, {id_among(added, eos.token.content)}, id_among(added, pad.token.content), source.settings.max_length};
  return {std::move(model), std::move(added), std::move(frame)};
}

/// CLIPTokenizer, T5Tokenizer or BertTokenizer: what the configuration says, else what the files are.
std::string class_of(const Source& source) {
  const auto& name = source.settings.class_name;
  if (name == "CLIPTokenizer" || name == "T5Tokenizer" || name == "BertTokenizer") return name;
  if (!name.empty())
    throw DataError(concat((source.folder / "tokenizer_config.json").string(), ": tokenizer_class: unknown class \"",
                           name, "\". Known: BertTokenizer, CLIPTokenizer, T5Tokenizer."));
  const std::string type = source.has_tokenizer_json() ? model_text(source.model(), "type") : "";
  if (type == "BPE" || (type.empty() && fs::exists(source.folder / "merges.txt"))) return "CLIPTokenizer";
  if (type == "WordPiece" || (type.empty() && fs::exists(source.folder / "vocab.txt"))) return "BertTokenizer";
  if (type == "Unigram" || (type.empty() && fs::exists(source.folder / "spiece.model"))) return "T5Tokenizer";
  throw DataError(
      concat(source.folder.string(),
             ": no tokenizer: expected tokenizer.json, vocab.json with merges.txt, vocab.txt or spiece.model."));
}

}  // namespace

Tokenizer open_tokenizer(const fs::path& folder) {
  Source source{folder};
  const fs::path path = folder / "tokenizer.json";
  if (fs::exists(path)) {
    source.tokenizer = parse_json_file(path);
    if (!source.tokenizer.is_object() || !source.tokenizer.contains("model") || !source.model().is_object())
      throw DataError(concat(path.string(), ": expected an object with \"model\"."));
  }
  source.settings = read_token_settings(folder, source.tokenizer);
  const std::string name = class_of(source);
  if (name == "CLIPTokenizer") return make_clip(source);
  return name == "BertTokenizer" ? make_bert(source) : make_t5(source);
}

}  // namespace thaw::text
