// Folders of text encoders as published pipelines lay them out.

#include <algorithm>
#include <array>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/input_hashes.h"
#include "core/io/json_guard.h"
#include "text/conditioner.h"

namespace thaw::text {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kDefaultLength = 512;  // of encoders without a limit
constexpr std::uint64_t kMaxIndexBytes = 1 << 20;
constexpr std::int64_t kThirdLength = 256;  // of Stable Diffusion 3's T5, as diffusers 0.42.1 has it

/// Refuses a version 3 without its T5, which would pass for an XL.
void expect_pipeline(const fs::path& folder, std::size_t num_parts) {
  const fs::path path = folder / "model_index.json";
  if (!fs::exists(path)) return;
  const nlohmann::json index = parse_json_file(path, kMaxIndexBytes);
  const bool is_third = index.is_object() && index.contains("_class_name") && index.at("_class_name").is_string() &&
                        index.at("_class_name").get<std::string>().starts_with("StableDiffusion3");
  if (is_third && num_parts != 3)
    throw DataError(
        concat(path.string(), ": expected three text encoders of Stable Diffusion 3, found ", num_parts, "."));
}

/// Content of what a part was read from: settings, vocabulary and weights.
std::string identity_of(const fs::path& tokenizer, const fs::path& encoder) {
  std::string hashes;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json",
                           "vocab.json", "merges.txt", "vocab.txt", "spiece.model"})
    if (fs::exists(tokenizer / name)) hashes += concat(name, content_hash(read_file(tokenizer / name)));
  for (const char* name : {"config.json", "modules.json", "1_Pooling/config.json"})
    if (fs::exists(encoder / name)) hashes += concat(name, content_hash(read_file(encoder / name)));
  std::vector<fs::path> weights;
  for (const auto& entry : fs::directory_iterator(encoder))
    if (entry.path().extension() == ".safetensors") weights.push_back(entry.path());
  std::sort(weights.begin(), weights.end());
  InputHashes known(user_cache() / "text" / "weights.json");
  hashes += known.of(fs::weakly_canonical(encoder).string(), weights);
  make_folder(user_cache() / "text");
  known.save();
  return content_hash(hashes);
}

void merge_lora(const ConditionerOptions& options, std::optional<LoraPart> part, ConditionerPart& made) {
  if (options.lora.empty() || !part || count_lora_layers(options.lora, *part) == 0) return;
  const NamedTensors& weights = made.opened.encoder->parameters().all();
  LoraMerge(weights).set({{load_lora(options.lora, weights, *part), options.lora_scale}});
  if (!options.cache.empty())
    made.identity += concat(" lora ", content_hash(read_file(options.lora)), " ", options.lora_scale);
}

}  // namespace

std::optional<LoraPart> lora_part(const std::string& encoder) {
  if (encoder == "text_encoder") return LoraPart::kTextEncoder;
  return encoder == "text_encoder_2" ? std::optional(LoraPart::kTextEncoder2) : std::nullopt;
}

ConditionerPart open_conditioner_part(const fs::path& tokenizer, const fs::path& encoder,
                                      const ConditionerOptions& options, std::optional<LoraPart> lora) {
  ConditionerPart part{open_tokenizer(tokenizer), open_text_encoder(encoder)};
  const std::string& name = part.opened.class_name;
  const TextEncoder& network = *part.opened.encoder;
  part.length = network.max_length() > 0 ? network.max_length() : kDefaultLength;
  if (const std::int64_t limit = part.tokenizer.frame().max_length; limit > 0)
    part.length = std::min(part.length, limit);
  if (part.opened.pooling.max_length > 0) part.length = std::min(part.length, part.opened.pooling.max_length);
  part.is_chunked = name.starts_with("CLIP");
  part.hides_padding = !part.is_chunked;
  if (!options.cache.empty()) part.identity = identity_of(tokenizer, encoder);
  merge_lora(options, lora, part);
  return part;
}

namespace {

TextConditioner made(std::vector<ConditionerPart> parts, ConditionerOptions options) {
  for (ConditionerPart& part : parts)
    if (part.is_chunked) part.skipped += options.clip_skip;
  return {std::move(parts), std::move(options)};
}

}  // namespace

TextConditioner open_text_conditioner(const fs::path& folder, ConditionerOptions options) {
  std::vector<ConditionerPart> parts;
  if (!fs::is_directory(folder / "text_encoder")) {
    options.join = Join::kSingle;
    parts.push_back(open_conditioner_part(folder, folder, options));
    return made(std::move(parts), std::move(options));
  }
  for (const char* suffix : {"", "_2", "_3"}) {
    const fs::path encoder = folder / concat("text_encoder", suffix);
    if (fs::is_directory(encoder))
      parts.push_back(open_conditioner_part(folder / concat("tokenizer", suffix), encoder, options,
                                            lora_part(encoder.filename().string())));
  }
  for (std::size_t i = 0; i < parts.size() && parts.size() > 1; ++i)
    if (parts[i].is_chunked != (i < 2))
      throw DataError(concat(folder.string(), ": text encoder ", i + 1, " is a ", parts[i].opened.class_name,
                             "; several are read as Stable Diffusion XL and 3 have them: two CLIPs, then T5."));
  expect_pipeline(folder, parts.size());
  options.join = std::array{Join::kSingle, Join::kSdxl, Join::kSd3}.at(parts.size() - 1);
  if (options.join == Join::kSingle) return made(std::move(parts), std::move(options));
  // Both take the last layer but one as it is.
  for (std::size_t i = 0; i < 2; ++i) {
    parts[i].skipped = 1;
    parts[i].has_final_norm = false;
  }
  if (options.join == Join::kSd3) {
    parts[2].length = std::min(parts[2].length, kThirdLength);
    parts[2].hides_padding = false;
  }
  return made(std::move(parts), std::move(options));
}

}  // namespace thaw::text
