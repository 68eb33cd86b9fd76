// T5EncoderModel of transformers. Raffel et al. 2020; gated feed-forward: Shazeer 2020.
// N batch, L tokens, D features, h heads

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "text/encoder.h"

namespace thaw::text {

namespace {

struct T5Options {
  std::int64_t vocabulary, features, head_width, inner, layers, heads, buckets, max_distance;
  bool is_gated;
  std::string activation;
  double epsilon;
};

T5Options read_t5_options(PublishedConfig& config) {
  T5Options options{};
  for (const char* key : {"dropout_rate", "num_decoder_layers", "is_encoder_decoder", "eos_token_id", "output_past",
                          "scale_decoder_outputs", "dense_act_fn", "is_gated_act", "vocab_size_or_config_json_file"})
    config.accept(key);
  options.vocabulary = config.integer("vocab_size", 32128, 1, 1 << 24);
  options.features = config.integer("d_model", 512, 1, 1 << 16);
  options.head_width = config.integer("d_kv", 64, 1, 1 << 16);
  options.inner = config.integer("d_ff", 2048, 1, 1 << 20);
  options.layers = config.integer("num_layers", 6, 1, 1024);
  options.heads = config.integer("num_heads", 8, 1, 4096);
  // Below 4 no bucket is left for a distance of one.
  options.buckets = config.integer("relative_attention_num_buckets", 32, 4, 1 << 16);
  options.max_distance = config.integer("relative_attention_max_distance", 128, 2, 1 << 20);
  options.epsilon = config.number("layer_norm_epsilon", 1e-6, 0.0, 1.0);
  const std::string shape =
      config.choice("feed_forward_proj", "relu", {"relu", "gelu", "silu", "gated-gelu", "gated-relu", "gated-silu"});
  options.is_gated = shape.starts_with("gated-");
  options.activation = options.is_gated ? shape.substr(6) : shape;
  if (shape == "gated-gelu") options.activation = "gelu_new";
  if (config.boolean("is_decoder", false)) config.fail("is_decoder", "expected false, got true.");
  config.refuse_unread();
  if (options.max_distance <= options.buckets / 4)
    config.fail("relative_attention_max_distance", concat("must be above a quarter of the ", options.buckets,
                                                          " buckets, got ", options.max_distance, "."));
  return options;
}

/// Root mean square norm, without mean and bias. Zhang and Sennrich 2019.
at::Tensor root_mean_square_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  return weight * (x * at::rsqrt(x.pow(2).mean(-1, true) + epsilon));
}

/// The bucket of each pair (query, key), int64 [L, L]: exact near by, logarithmic further off, the sign in the upper
/// half.
at::Tensor relative_buckets(std::int64_t l, const T5Options& options, const at::TensorOptions& placed) {
  const std::int64_t half = options.buckets / 2, exact = half / 2;
  const at::Tensor position = at::arange(l, placed.dtype(at::kLong));
  const at::Tensor distance = position.unsqueeze(0) - position.unsqueeze(1);
  const at::Tensor away = distance.abs();
  const at::Tensor far = at::log(away.to(at::kFloat) / static_cast<double>(exact)) /
                         std::log(static_cast<double>(options.max_distance) / static_cast<double>(exact)) *
                         static_cast<double>(half - exact);
  // log(0) of the diagonal is never used; as an integer it would be undefined.
  const at::Tensor bucket = (far.clamp_min(0).to(at::kLong) + exact).clamp_max(half - 1);
  return distance.gt(0).to(at::kLong) * half + at::where(away.lt(exact), away, bucket);
}

struct T5Layer {
  nn::Linear query, key, value, project, mlp1, gate, mlp2;
  at::Tensor norm1, norm2;
  T5Options options;

  T5Layer(PublishedWeights& weights, const std::string& name, const T5Options& options_) : options(options_) {
    const std::int64_t d = options.features, width = options.heads * options.head_width;
    const std::string attention = name + ".layer.0.SelfAttention", dense = name + ".layer.1.DenseReluDense";
    query = weights.linear(attention + ".q", d, width, false);
    key = weights.linear(attention + ".k", d, width, false);
    value = weights.linear(attention + ".v", d, width, false);
    project = weights.linear(attention + ".o", width, d, false);
    norm1 = weights.take(name + ".layer.0.layer_norm.weight", {d});
    mlp1 = weights.linear(dense + (options.is_gated ? ".wi_0" : ".wi"), d, options.inner, false);
    if (options.is_gated) gate = weights.linear(dense + ".wi_1", d, options.inner, false);
    mlp2 = weights.linear(dense + ".wo", options.inner, d, false);
    norm2 = weights.take(name + ".layer.1.layer_norm.weight", {d});
  }

  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& bias) const {
    const std::int64_t n = x_NLD.size(0), l = x_NLD.size(1), width = options.heads * options.head_width;
    const at::Tensor h_NLD = root_mean_square_norm(x_NLD, norm1, options.epsilon);
    const auto split = [&](const at::Tensor& y) { return nn::split_heads(y, options.heads); };
    // Not divided by the root of the width: that is in the initial values of T5.
    const at::Tensor scores = at::matmul(split(query(h_NLD)), split(key(h_NLD)).transpose(2, 3)) + bias;
    const at::Tensor mixed = at::matmul(at::softmax(scores, -1), split(value(h_NLD)));
    const at::Tensor y_NLD = x_NLD + project(mixed.transpose(1, 2).reshape({n, l, width}));
    const at::Tensor g_NLD = root_mean_square_norm(y_NLD, norm2, options.epsilon);
    at::Tensor inner = activate(options.activation, mlp1(g_NLD));
    if (options.is_gated) inner = inner * gate(g_NLD);
    return y_NLD + mlp2(inner);
  }
};

class T5Encoder : public TextEncoder {
 public:
  T5Encoder(const T5Options& options, NamedTensors tensors, const std::string& where) : options_(options) {
    features_ = options.features;
    vocabulary_size_ = options.vocabulary;
    // The table is stored under one of two names, or both.
    const auto holds = [&](const char* name) {
      return std::any_of(tensors.begin(), tensors.end(), [&](const auto& one) { return one.first == name; });
    };
    const bool is_shared = holds("shared.weight");
    if (is_shared) std::erase_if(tensors, [](const auto& one) { return one.first == "encoder.embed_tokens.weight"; });
    PublishedWeights weights(std::move(tensors), where, parameters_);
    tokens_ = weights.embedding(is_shared ? "shared" : "encoder.embed_tokens", options.vocabulary, options.features);
    for (std::int64_t i = 0; i < options.layers; ++i)
      layers_.emplace_back(weights, "encoder.block." + std::to_string(i), options);
    bias_ = weights.embedding("encoder.block.0.layer.0.SelfAttention.relative_attention_bias", options.buckets,
                              options.heads);
    norm_ = weights.take("encoder.final_layer_norm.weight", {options.features});
    weights.refuse_left_over();
  }

  at::Tensor final_norm(const at::Tensor& x_NLD) const override {
    return root_mean_square_norm(x_NLD, norm_, options_.epsilon);
  }

 protected:
  EncoderOutput forward(const at::Tensor& ids_NL, const at::Tensor& mask_NL) const override {
    const at::Tensor buckets_LL = relative_buckets(ids_NL.size(1), options_, ids_NL.options());
    at::Tensor bias = bias_(buckets_LL).permute({2, 0, 1}).unsqueeze(0);
    if (mask_NL.defined())
      bias = bias.masked_fill(mask_NL.to(at::kBool).logical_not().unsqueeze(1).unsqueeze(1),
                              -std::numeric_limits<float>::max());
    EncoderOutput out;
    at::Tensor x_NLD = tokens_(ids_NL);
    out.hidden_states.push_back(x_NLD);
    for (const T5Layer& layer : layers_) {
      x_NLD = layer(x_NLD, bias);
      out.hidden_states.push_back(x_NLD);
    }
    out.last_hidden_state = final_norm(x_NLD);
    return out;
  }

 private:
  T5Options options_;
  nn::Embedding tokens_, bias_;
  std::vector<T5Layer> layers_;
  at::Tensor norm_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_t5_encoder(PublishedConfig& config, NamedTensors tensors, const std::string& where) {
  return std::make_unique<T5Encoder>(read_t5_options(config), std::move(tensors), where);
}

}  // namespace thaw::text
