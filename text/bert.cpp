// BertModel of transformers. Devlin et al. 2019.
// N batch, L tokens, D features, h heads

#include <algorithm>

#include <ATen/ATen.h>

#include "text/encoder.h"

namespace thaw::text {

namespace {

struct BertOptions {
  std::int64_t vocabulary, features, inner, layers, heads, positions, types;
  std::string activation;
  double epsilon;
};

BertOptions read_bert_options(PublishedConfig& config) {
  BertOptions options{};
  for (const char* key : {"hidden_dropout_prob", "attention_probs_dropout_prob", "eos_token_id", "is_encoder_decoder"})
    config.accept(key);
  options.vocabulary = config.integer("vocab_size", 30522, 1, 1 << 24);
  options.features = config.integer("hidden_size", 768, 1, 1 << 16);
  options.inner = config.integer("intermediate_size", 3072, 1, 1 << 20);
  options.layers = config.integer("num_hidden_layers", 12, 1, 1024);
  options.heads = config.integer("num_attention_heads", 12, 1, 4096);
  options.positions = config.integer("max_position_embeddings", 512, 1, 1 << 20);
  options.types = config.integer("type_vocab_size", 2, 1, 1 << 16);
  options.activation = config.choice("hidden_act", "gelu", activation_names());
  options.epsilon = config.number("layer_norm_eps", 1e-12, 0.0, 1.0);
  config.choice("position_embedding_type", "absolute", {"absolute"});
  for (const char* key : {"is_decoder", "add_cross_attention"})
    if (config.boolean(key, false)) config.fail(key, "expected false, got true.");
  config.refuse_unread();
  expect_heads(config, "num_attention_heads", options.features, options.heads);
  return options;
}

/// The norm comes after each residual sum.
struct BertLayer {
  nn::Linear query, key, value, project, mlp1, mlp2;
  nn::LayerNorm norm1, norm2;
  std::int64_t heads;
  std::string activation;

  BertLayer(PublishedWeights& weights, const std::string& name, const BertOptions& options)
      : heads(options.heads), activation(options.activation) {
    const std::int64_t d = options.features;
    query = weights.linear(name + ".attention.self.query", d, d);
    key = weights.linear(name + ".attention.self.key", d, d);
    value = weights.linear(name + ".attention.self.value", d, d);
    project = weights.linear(name + ".attention.output.dense", d, d);
    norm1 = weights.layer_norm(name + ".attention.output.LayerNorm", d, true, options.epsilon);
    mlp1 = weights.linear(name + ".intermediate.dense", d, options.inner);
    mlp2 = weights.linear(name + ".output.dense", options.inner, d);
    norm2 = weights.layer_norm(name + ".output.LayerNorm", d, true, options.epsilon);
  }

  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& keep) const {
    const at::Tensor h_NLD = norm1(x_NLD + project(attend(query(x_NLD), key(x_NLD), value(x_NLD), heads, keep)));
    return norm2(h_NLD + mlp2(activate(activation, mlp1(h_NLD))));
  }
};

class Bert : public TextEncoder {
 public:
  Bert(const BertOptions& options, NamedTensors tensors, const std::string& where) {
    features_ = options.features;
    vocabulary_size_ = options.vocabulary;
    max_length_ = options.positions;
    const auto begins = [&](const std::string& prefix) {
      return std::any_of(tensors.begin(), tensors.end(),
                         [&](const auto& one) { return one.first.starts_with(prefix); });
    };
    const std::string prefix = begins("bert.") ? "bert." : "";
    const bool has_pooler = begins(prefix + "pooler.");
    PublishedWeights weights(std::move(tensors), where, parameters_);
    const std::int64_t d = options.features;
    words_ = weights.embedding(prefix + "embeddings.word_embeddings", options.vocabulary, d);
    positions_ = weights.embedding(prefix + "embeddings.position_embeddings", options.positions, d);
    types_ = weights.embedding(prefix + "embeddings.token_type_embeddings", options.types, d);
    norm_ = weights.layer_norm(prefix + "embeddings.LayerNorm", d, true, options.epsilon);
    for (std::int64_t i = 0; i < options.layers; ++i)
      layers_.emplace_back(weights, prefix + "encoder.layer." + std::to_string(i), options);
    if (has_pooler) pooler_ = weights.linear(prefix + "pooler.dense", d, d);
    weights.refuse_left_over();
  }

 protected:
  // One text a row: every token has type 0.
  EncoderOutput forward(const at::Tensor& ids_NL, const at::Tensor& mask_NL) const override {
    at::Tensor keep;
    if (mask_NL.defined()) keep = mask_NL.to(at::kBool).unsqueeze(1).unsqueeze(1);
    EncoderOutput out;
    at::Tensor x_NLD =
        norm_(words_(ids_NL) + types_.weight.select(0, 0) + positions_.weight.slice(0, 0, ids_NL.size(1)));
    out.hidden_states.push_back(x_NLD);
    for (const BertLayer& layer : layers_) {
      x_NLD = layer(x_NLD, keep);
      out.hidden_states.push_back(x_NLD);
    }
    out.last_hidden_state = x_NLD;
    if (pooler_.weight.defined()) out.pooled = at::tanh(pooler_(x_NLD.select(1, 0)));
    return out;
  }

 private:
  nn::Embedding words_, positions_, types_;
  nn::LayerNorm norm_;
  std::vector<BertLayer> layers_;
  nn::Linear pooler_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_bert(PublishedConfig& config, NamedTensors tensors, const std::string& where) {
  return std::make_unique<Bert>(read_bert_options(config), std::move(tensors), where);
}

}  // namespace thaw::text
