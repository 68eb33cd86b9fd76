#include "text/conditioner.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "text/tokens/prompt.h"

namespace thaw::text {

namespace fs = std::filesystem;

namespace {

at::Tensor row_tensor(const std::vector<TokenId>& row) {
  return at::tensor(row, at::kLong);
}

/// Multiplies the hidden states of a pass by the weights of its tokens.
at::Tensor weighted(const at::Tensor& x_LD, const std::vector<double>& weights, WeightNorm norm) {
  if (std::all_of(weights.begin(), weights.end(), [](double weight) { return weight == 1.0; })) return x_LD;
  const at::Tensor y_LD = x_LD * at::tensor(weights, x_LD.options()).unsqueeze(1);
  return norm == WeightNorm::kNone ? y_LD : y_LD * (x_LD.mean() / y_LD.mean());
}

}  // namespace

at::Tensor rows_tensor(const std::vector<std::vector<TokenId>>& rows) {
  std::vector<at::Tensor> tensors;
  for (const auto& row : rows) tensors.push_back(row_tensor(row));
  return at::stack(tensors);
}

TextConditioner::TextConditioner(std::vector<ConditionerPart> parts, ConditionerOptions options)
    : parts_(std::move(parts)), options_(std::move(options)) {
  const std::size_t wanted = options_.join == Join::kSingle ? 1 : options_.join == Join::kSd3 ? 3 : 2;
  if (parts_.size() != wanted)
    throw ConfigError(concat("text: this way of joining takes ", wanted, " encoders, got ", parts_.size(), "."));
  if (options_.join == Join::kSd3 && parts_[0].opened.encoder->features() + parts_[1].opened.encoder->features() >
                                         parts_[2].opened.encoder->features())
    throw ConfigError(concat("text: the first two encoders have ", parts_[0].opened.encoder->features(), " + ",
                             parts_[1].opened.encoder->features(), " features, more than the ",
                             parts_[2].opened.encoder->features(), " of the third."));
  for (const ConditionerPart& part : parts_)
    if (part.tokenizer.size() > part.opened.encoder->vocabulary_size())
      throw DataError(concat("text: the tokenizer has ids up to ", part.tokenizer.size() - 1,
                             ", the encoder's vocabulary ", part.opened.encoder->vocabulary_size(), " tokens."));
}

TextConditioner::Encoded TextConditioner::encode_part(const ConditionerPart& part, const std::string& prompt) const {
  const std::vector<WeightedText> pieces =
      options_.reads_weights ? parse_prompt(prompt) : std::vector<WeightedText>{{prompt, 1.0, false}};
  Encoded out;
  std::vector<at::Tensor> passes, masks;
  for (const TokenChunk& chunk : chunk_prompt(part.tokenizer, pieces, part.length, part.is_chunked)) {
    const at::Tensor mask_L = row_tensor(chunk.mask);
    const EncoderOutput result = (*part.opened.encoder)(row_tensor(chunk.ids).unsqueeze(0),
                                                        part.hides_padding ? mask_L.unsqueeze(0) : at::Tensor());
    const auto count = static_cast<std::int64_t>(result.hidden_states.size());
    if (part.skipped < 0 || part.skipped >= count)
      throw ConfigError(concat("text: skipped layers: must be in [0, ", count - 1, "], got ", part.skipped, "."));
    at::Tensor x_NLD = result.hidden_states[static_cast<std::size_t>(count - 1 - part.skipped)];
    if (part.has_final_norm) x_NLD = part.opened.encoder->final_norm(x_NLD);
    passes.push_back(weighted(x_NLD.squeeze(0), chunk.weights, options_.norm));
    masks.push_back(mask_L);
    // Of a long prompt the first pass speaks for all.
    if (out.pooled_P.defined() || passes.size() > 1) continue;
    if (part.opened.pooling.kind != SentencePooling::Kind::kNone)
      out.pooled_P = pool_sentence(part.opened.pooling, result.last_hidden_state, mask_L.unsqueeze(0)).squeeze(0);
    else if (result.pooled.defined())
      out.pooled_P = result.pooled.squeeze(0);
  }
  out.text_LD = at::cat(passes);
  out.mask_L = at::cat(masks);
  return out;
}

TextConditioner::Row TextConditioner::encode(const std::string& prompt) const {
  const c10::NoGradGuard no_gradient;
  Row row;
  for (const ConditionerPart& part : parts_) row.push_back(encode_part(part, prompt));
  return row;
}

const TextConditioner::Row& TextConditioner::row_of(const std::string& prompt) {
  if (const auto found = remembered_.find(prompt); found != remembered_.end()) return found->second;
  if (remembered_.size() >= options_.max_remembered) remembered_.clear();
  const std::string key = options_.cache.empty() ? "" : key_of(prompt);
  std::optional<Row> row = options_.cache.empty() ? std::nullopt : load(key);
  if (!row) {
    row = encode(prompt);
    ++num_encoded_;
    if (!options_.cache.empty()) store(key, *row);
  }
  return remembered_.emplace(prompt, std::move(*row)).first->second;
}

std::string TextConditioner::key_of(const std::string& prompt) const {
  std::string key = concat("join ", static_cast<int>(options_.join), " weights ", options_.reads_weights, " norm ",
                           static_cast<int>(options_.norm));
  for (const ConditionerPart& part : parts_)
    key += concat("\n", part.identity, " length ", part.length, " chunked ", part.is_chunked, " skipped ", part.skipped,
                  " norm ", part.has_final_norm, " hides ", part.hides_padding);
  return key + "\n" + prompt;
}

std::optional<TextConditioner::Row> TextConditioner::load(const std::string& key) const {
  const fs::path path = options_.cache / (content_hash(key) + ".safetensors");
  if (!fs::exists(path)) return std::nullopt;
  Row row(parts_.size());
  try {
    const LoadedTensors loaded = load_tensors(path);
    // 64 bits of hash may collide; the key itself is in the file.
    const auto stored = loaded.metadata.find("key");
    if (stored == loaded.metadata.end() || stored->second != key) return std::nullopt;
    for (const auto& [name, tensor] : loaded.tensors)
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (name == concat("text.", i)) row[i].text_LD = tensor;
        if (name == concat("mask.", i)) row[i].mask_L = tensor;
        if (name == concat("pooled.", i)) row[i].pooled_P = tensor;
      }
  } catch (const DataError&) {
    return std::nullopt;  // a damaged file is made again
  }
  const bool is_whole = std::all_of(row.begin(), row.end(),
                                    [](const Encoded& one) { return one.text_LD.defined() && one.mask_L.defined(); });
  return is_whole ? std::optional(std::move(row)) : std::nullopt;
}

void TextConditioner::store(const std::string& key, const Row& row) const {
  NamedTensors tensors;
  for (std::size_t i = 0; i < row.size(); ++i) {
    tensors.emplace_back(concat("text.", i), row[i].text_LD);
    tensors.emplace_back(concat("mask.", i), row[i].mask_L);
    if (row[i].pooled_P.defined()) tensors.emplace_back(concat("pooled.", i), row[i].pooled_P);
  }
  save_tensors(options_.cache / (content_hash(key) + ".safetensors"), tensors, {{"key", key}});
}

std::int64_t TextConditioner::passes_of(const Row& row) const {
  std::int64_t passes = 1;
  for (std::size_t i = 0; i < row.size(); ++i)
    if (parts_[i].is_chunked) passes = std::max(passes, row[i].text_LD.size(0) / parts_[i].length);
  return passes;
}

TextConditioner::Encoded TextConditioner::extended(std::size_t part, const Encoded& encoded, std::int64_t passes) {
  if (!parts_[part].is_chunked) return encoded;
  const std::int64_t missing = passes - encoded.text_LD.size(0) / parts_[part].length;
  if (missing <= 0) return encoded;
  const Encoded empty = row_of("")[part];
  Encoded out = encoded;
  out.text_LD = at::cat({encoded.text_LD, empty.text_LD.repeat({missing, 1})});
  out.mask_L = at::cat({encoded.mask_L, at::zeros({missing * parts_[part].length}, at::kLong)});
  return out;
}

TextConditioner::Encoded TextConditioner::joined(const Row& row, std::int64_t passes) {
  Encoded out = extended(0, row[0], passes);
  if (options_.join == Join::kSingle) return out;
  if (options_.join == Join::kFlux) return {row[1].text_LD, row[1].mask_L, row[0].pooled_P};
  const Encoded second = extended(1, row[1], passes);
  out.text_LD = at::cat({out.text_LD, second.text_LD}, 1);
  if (options_.join == Join::kSdxl) {
    out.pooled_P = second.pooled_P;
    return out;
  }
  const Encoded& third = row[2];
  out.text_LD = at::constant_pad_nd(out.text_LD, {0, third.text_LD.size(1) - out.text_LD.size(1)});
  out.text_LD = at::cat({out.text_LD, third.text_LD});
  out.mask_L = at::cat({out.mask_L, third.mask_L});
  out.pooled_P = at::cat({out.pooled_P, second.pooled_P});
  return out;
}

Condition TextConditioner::stacked(std::span<const std::string> prompts, std::int64_t passes) {
  std::vector<at::Tensor> text, mask, pooled;
  for (const std::string& prompt : prompts) {
    // A copy: making room for the empty prompt may forget the row.
    const Row row = row_of(prompt);
    const Encoded one = joined(row, passes);
    text.push_back(one.text_LD);
    mask.push_back(one.mask_L);
    if (one.pooled_P.defined()) pooled.push_back(one.pooled_P);
  }
  Condition condition{{"text", at::stack(text)}, {"text_mask", at::stack(mask)}};
  if (!pooled.empty()) condition["pooled"] = at::stack(pooled);
  return condition;
}

Condition TextConditioner::operator()(std::span<const std::string> prompts) {
  if (prompts.empty()) throw ConfigError("prompt: at least one is needed.");
  std::int64_t passes = 1;
  for (const std::string& prompt : prompts) passes = std::max(passes, passes_of(row_of(prompt)));
  return stacked(prompts, passes);
}

std::pair<Condition, Condition> TextConditioner::with_negative(std::span<const std::string> prompts,
                                                               std::span<const std::string> negatives) {
  if (prompts.size() != negatives.size() || prompts.empty())
    throw ConfigError(concat("negative prompts: expected ", prompts.size(), ", got ", negatives.size(), "."));
  std::int64_t passes = 1;
  for (const auto& list : {prompts, negatives})
    for (const std::string& prompt : list) passes = std::max(passes, passes_of(row_of(prompt)));
  return {stacked(prompts, passes), stacked(negatives, passes)};
}

}  // namespace thaw::text
