// CLIPTextModel and CLIPTextModelWithProjection of transformers. Radford et al. 2021.
// N batch, L tokens, D features, h heads

#include <algorithm>

#include <ATen/ATen.h>

#include "text/encoder.h"

namespace thaw::text {

namespace {

/// Configurations written before 2023 carry this id by mistake; their networks pool at the largest id of a row.
constexpr std::int64_t kMistakenEnd = 2;

struct ClipOptions {
  std::int64_t vocabulary, features, inner, projection, layers, heads, positions, end;
  std::string activation;
  double epsilon;
};

ClipOptions read_clip_options(PublishedConfig& config) {
  ClipOptions options{};
  config.accept("attention_dropout");
  options.vocabulary = config.integer("vocab_size", 49408, 1, 1 << 24);
  options.features = config.integer("hidden_size", 512, 1, 1 << 16);
  options.inner = config.integer("intermediate_size", 2048, 1, 1 << 20);
  options.projection = config.integer_or_null("projection_dim", 512, 1, 1 << 16).value_or(512);
  options.layers = config.integer("num_hidden_layers", 12, 1, 1024);
  options.heads = config.integer("num_attention_heads", 8, 1, 4096);
  options.positions = config.integer("max_position_embeddings", 77, 1, 1 << 20);
  options.activation = config.choice("hidden_act", "quick_gelu", activation_names());
  options.epsilon = config.number("layer_norm_eps", 1e-5, 0.0, 1.0);
  options.end = config.integer("eos_token_id", 49407, 0, 1 << 24);
  config.refuse_unread();
  expect_heads(config, "num_attention_heads", options.features, options.heads);
  return options;
}

struct ClipLayer {
  nn::Linear query, key, value, project, mlp1, mlp2;
  nn::LayerNorm norm1, norm2;
  std::int64_t heads;
  std::string activation;

  ClipLayer(PublishedWeights& weights, const std::string& name, const ClipOptions& options)
      : heads(options.heads), activation(options.activation) {
    const std::int64_t d = options.features;
    query = weights.linear(name + ".self_attn.q_proj", d, d);
    key = weights.linear(name + ".self_attn.k_proj", d, d);
    value = weights.linear(name + ".self_attn.v_proj", d, d);
    project = weights.linear(name + ".self_attn.out_proj", d, d);
    norm1 = weights.layer_norm(name + ".layer_norm1", d, true, options.epsilon);
    norm2 = weights.layer_norm(name + ".layer_norm2", d, true, options.epsilon);
    mlp1 = weights.linear(name + ".mlp.fc1", d, options.inner);
    mlp2 = weights.linear(name + ".mlp.fc2", options.inner, d);
  }

  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& keep) const {
    const at::Tensor h_NLD = norm1(x_NLD);
    const at::Tensor y_NLD = x_NLD + project(attend(query(h_NLD), key(h_NLD), value(h_NLD), heads, keep));
    return y_NLD + mlp2(activate(activation, mlp1(norm2(y_NLD))));
  }
};

class ClipText : public TextEncoder {
 public:
  ClipText(const ClipOptions& options, NamedTensors tensors, const std::string& where, bool has_projection)
      : options_(options) {
    features_ = options.features;
    vocabulary_size_ = options.vocabulary;
    max_length_ = options.positions;
    const bool is_nested = std::any_of(tensors.begin(), tensors.end(),
                                       [](const auto& one) { return one.first.starts_with("text_model."); });
    const std::string prefix = is_nested ? "text_model." : "";
    PublishedWeights weights(std::move(tensors), where, parameters_);
    tokens_ = weights.embedding(prefix + "embeddings.token_embedding", options.vocabulary, options.features);
    positions_ = weights.embedding(prefix + "embeddings.position_embedding", options.positions, options.features);
    for (std::int64_t i = 0; i < options.layers; ++i)
      layers_.emplace_back(weights, prefix + "encoder.layers." + std::to_string(i), options);
    norm_ = weights.layer_norm(prefix + "final_layer_norm", options.features, true, options.epsilon);
    if (has_projection) projection_ = weights.linear("text_projection", options.features, options.projection, false);
    weights.refuse_left_over();
  }

  at::Tensor final_norm(const at::Tensor& x_NLD) const override { return norm_(x_NLD); }

 protected:
  EncoderOutput forward(const at::Tensor& ids_NL, const at::Tensor& mask_NL) const override {
    const std::int64_t l = ids_NL.size(1);
    at::Tensor keep = at::ones({l, l}, ids_NL.options().dtype(at::kBool)).tril();
    if (mask_NL.defined()) keep = keep.logical_and(mask_NL.to(at::kBool).unsqueeze(1).unsqueeze(1));
    EncoderOutput out;
    at::Tensor x_NLD = tokens_(ids_NL) + positions_.weight.slice(0, 0, l);
    out.hidden_states.push_back(x_NLD);
    for (const ClipLayer& layer : layers_) {
      x_NLD = layer(x_NLD, keep);
      out.hidden_states.push_back(x_NLD);
    }
    out.last_hidden_state = norm_(x_NLD);
    const at::Tensor place_N =
        options_.end == kMistakenEnd ? ids_NL.argmax(1) : ids_NL.eq(options_.end).to(at::kInt).argmax(1);
    out.pooled =
        out.last_hidden_state.gather(1, place_N.view({-1, 1, 1}).expand({-1, 1, options_.features})).squeeze(1);
    if (projection_.weight.defined()) out.pooled = projection_(out.pooled);
    return out;
  }

 private:
  ClipOptions options_;
  nn::Embedding tokens_, positions_;
  std::vector<ClipLayer> layers_;
  nn::LayerNorm norm_;
  nn::Linear projection_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_clip_text(PublishedConfig& config, NamedTensors tensors, const std::string& where,
                                            bool has_projection) {
  return std::make_unique<ClipText>(read_clip_options(config), std::move(tensors), where, has_projection);
}

}  // namespace thaw::text
