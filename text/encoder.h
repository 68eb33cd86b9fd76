#pragma once
// Published text encoders: a model directory of transformers (config.json and safetensors weights, in one file or in
// shards with an index). Behaviour and tensor names are those of transformers 5.23.
// N batch, L tokens, D features, h heads

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/nn/parameters.h"
#include "core/published.h"

namespace thaw::text {

struct EncoderOutput {
  at::Tensor last_hidden_state{};           // [N, L, D], after the final norm
  at::Tensor pooled{};                      // [N, P]; undefined of T5
  std::vector<at::Tensor> hidden_states{};  // of the embeddings and of each layer, before the final norm
};

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  /// ids int64 [N, L], mask [N, L] with 1 where a token stands (undefined: everywhere). Throws DataError for ids
  /// outside the vocabulary and rows longer than max_length.
  EncoderOutput operator()(const at::Tensor& ids_NL, const at::Tensor& mask_NL) const;
  /// What stands between the last hidden state of the layers and last_hidden_state; the identity where nothing does.
  virtual at::Tensor final_norm(const at::Tensor& x_NLD) const { return x_NLD; }
  const Parameters& parameters() const { return parameters_; }
  std::int64_t features() const { return features_; }
  std::int64_t vocabulary_size() const { return vocabulary_size_; }
  /// 0: any length.
  std::int64_t max_length() const { return max_length_; }

 protected:
  virtual EncoderOutput forward(const at::Tensor& ids_NL, const at::Tensor& mask_NL) const = 0;

  Parameters parameters_{0};
  std::int64_t features_ = 0, vocabulary_size_ = 0, max_length_ = 0;
};

/// How a sentence's vector is made of its tokens' (Reimers and Gurevych 2019), from modules.json and 1_Pooling.
struct SentencePooling {
  enum class Kind { kNone, kFirst, kMean } kind = Kind::kNone;
  bool is_normalized = false;
  std::int64_t max_length = 0;  // 0: the encoder's
};

struct OpenedEncoder {
  std::unique_ptr<TextEncoder> encoder{};
  std::string class_name{};
  SentencePooling pooling{};
};

/// CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, BertModel. Every key of config.json is used or refused.
/// Throws DataError.
OpenedEncoder open_text_encoder(const std::filesystem::path& folder);

/// Mean over the tokens of the mask, or the first token; divided by its length where the model says so.
at::Tensor pool_sentence(const SentencePooling& pooling, const at::Tensor& x_NLD, const at::Tensor& mask_NL);

/// Weight-bearing classes, each in its own file.
std::unique_ptr<TextEncoder> make_clip_text(PublishedConfig& config, NamedTensors tensors, const std::string& where,
                                            bool has_projection);
std::unique_ptr<TextEncoder> make_t5_encoder(PublishedConfig& config, NamedTensors tensors, const std::string& where);
std::unique_ptr<TextEncoder> make_bert(PublishedConfig& config, NamedTensors tensors, const std::string& where);

/// The activations of published text networks by their names: gelu, quick_gelu, gelu_new, relu, silu.
at::Tensor activate(const std::string& name, const at::Tensor& x);
const std::vector<std::string>& activation_names();

/// Multi-head attention of [N, L, D] projections with `keep` (bool, broadcasts to [N, h, L, L]; undefined: all).
at::Tensor attend(const at::Tensor& q_NLD, const at::Tensor& k_NLD, const at::Tensor& v_NLD, std::int64_t heads,
                  const at::Tensor& keep);

/// Refuses a width that heads do not divide, naming the key.
void expect_heads(const PublishedConfig& config, const char* key, std::int64_t features, std::int64_t heads);

}  // namespace thaw::text
