#pragma once
// Prompts to what a denoiser is conditioned on: one text encoder or several, joined as published models do.
// N batch, L tokens, D features

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/condition.h"
#include "core/lora.h"
#include "text/encoder.h"
#include "text/tokens/tokenizer.h"

namespace thaw::text {

/// One encoder with its tokenizer.
struct ConditionerPart {
  Tokenizer tokenizer;
  OpenedEncoder opened{};
  std::int64_t length = 77;    // tokens of one pass, frame included
  bool is_chunked = true;      // further passes for longer prompts; false: cut off
  std::int64_t skipped = 0;    // layers left out at the end ("clip skip")
  bool has_final_norm = true;  // over the layer that is taken
  bool hides_padding = false;  // from the encoder's attention
  std::string identity{};      // of its files, for the cache on disk
};

/// single  one encoder
/// sdxl    two, side by side along the features; pooled of the second (Podell et al. 2023)
/// sd3     two side by side, padded with zeros to the width of the third, which follows along the tokens; pooled of
/// both
///         (Esser et al. 2024)
/// flux    pooled of the first, states of the second
enum class Join { kSingle, kSdxl, kSd3, kFlux };

/// What weights of a prompt do beyond multiplying the hidden states of their tokens:
/// mean  the mean over all numbers of a pass is put back to what it was ("original" of AUTOMATIC1111)
/// none  nothing ("no norm")
enum class WeightNorm { kMean, kNone };

struct ConditionerOptions {
  Join join = Join::kSingle;
  bool reads_weights = true;  // false: brackets are text
  WeightNorm norm = WeightNorm::kMean;
  std::int64_t clip_skip = 0;     // further layers left out at the end of each CLIP
  std::filesystem::path cache{};  // a folder, made when first needed; empty: memory only
  std::size_t max_remembered = 1024;
  std::filesystem::path lora{};  // a file of LoRA layers, merged into the encoders that it has some for
  double lora_scale = 1.0;
};

class TextConditioner {
 public:
  /// Throws ConfigError when the parts do not suit the join.
  TextConditioner(std::vector<ConditionerPart> parts, ConditionerOptions options);

  /// "text" [N, L, D], "text_mask" int64 [N, L], "pooled" [N, P] where the encoders give one. A row does not depend on
  /// its neighbours, but for padding to the longest: with passes of the empty prompt, masked.
  Condition operator()(std::span<const std::string> prompts);
  /// The same for prompts and what to steer away from, of one length.
  std::pair<Condition, Condition> with_negative(std::span<const std::string> prompts,
                                                std::span<const std::string> negatives);

  /// Prompts that went through the encoders, not through a cache.
  std::size_t num_encoded() const { return num_encoded_; }

 private:
  /// One prompt through one part: as many passes as it needs.
  struct Encoded {
    at::Tensor text_LD{}, mask_L{}, pooled_P{};
  };
  using Row = std::vector<Encoded>;  // one entry a part

  const Row& row_of(const std::string& prompt);
  Row encode(const std::string& prompt) const;
  Encoded encode_part(const ConditionerPart& part, const std::string& prompt) const;
  Encoded joined(const Row& row, std::int64_t passes);
  Encoded extended(std::size_t part, const Encoded& encoded, std::int64_t passes);
  std::int64_t passes_of(const Row& row) const;
  Condition stacked(std::span<const std::string> prompts, std::int64_t passes);
  std::string key_of(const std::string& prompt) const;
  std::optional<Row> load(const std::string& key) const;
  void store(const std::string& key, const Row& row) const;

  std::vector<ConditionerPart> parts_;
  ConditionerOptions options_;
  std::map<std::string, Row> remembered_;
  std::size_t num_encoded_ = 0;
};

/// A folder that holds a tokenizer and an encoder, or one with tokenizer, text_encoder (and tokenizer_2, ...) in
/// folders of their own: then one to three of them, with the join, layers and lengths that Stable Diffusion, its XL and
/// its version 3 use. `options.join` is set by it.
TextConditioner open_text_conditioner(const std::filesystem::path& folder, ConditionerOptions options);
/// One folder's tokenizer, the other's encoder. Layers of options.lora for `part` are merged in. Where options.cache is
/// set, the hash of the weights is kept in the user's cache while path, size and time of the files stay.
ConditionerPart open_conditioner_part(const std::filesystem::path& tokenizer, const std::filesystem::path& encoder,
                                      const ConditionerOptions& options = {},
                                      std::optional<LoraPart> part = std::nullopt);
/// Of the folders text_encoder, text_encoder_2: nullopt of others.
std::optional<LoraPart> lora_part(const std::string& encoder);

/// Rows of ids as an int64 tensor [N, L].
at::Tensor rows_tensor(const std::vector<std::vector<TokenId>>& rows);

}  // namespace thaw::text
