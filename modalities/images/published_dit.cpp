// DiTTransformer2DModel of diffusers. Peebles and Xie 2023.
// N batch, C channels, H height, W width, L tokens, D features, h heads

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/images/published_parts.h"

namespace thaw::image {

namespace {

// Fixed in the peer's code, not in its configuration.
constexpr std::int64_t kTimeFeatures = 256;
constexpr double kModulatedNormEpsilon = 1e-6;

struct DiTOptions {
  std::int64_t in_channels, out_channels, heads, head_width, layers, size, patch;
  bool has_attention_bias, has_norm_weights, has_exact_gelu;
  double epsilon;
  std::int64_t num_classes;
  std::int64_t features() const { return heads * head_width; }
};

DiTOptions read_dit_options(PublishedConfig& config) {
  DiTOptions options{};
  // Training only; never used by the peer; without effect in float32.
  for (const char* key : {"dropout", "norm_num_groups", "upcast_attention"}) config.accept(key);
  options.heads = config.integer("num_attention_heads", 16, 1, 4096);
  options.head_width = config.integer("attention_head_dim", 72, 1, 4096);
  options.in_channels = config.integer("in_channels", 4, 1, 1 << 16);
  options.out_channels = config.integer_or_null("out_channels", std::nullopt, 1, 1 << 16).value_or(options.in_channels);
  options.layers = config.integer("num_layers", 28, 1, 1024);
  options.has_attention_bias = config.boolean("attention_bias", true);
  options.size = config.integer("sample_size", 32, 1, 1 << 16);
  options.patch = config.integer("patch_size", 2, 1, 1024);
  options.has_exact_gelu = config.choice("activation_fn", "gelu-approximate", {"gelu-approximate", "gelu"}) == "gelu";
  options.num_classes = config.integer("num_embeds_ada_norm", 1000, 1, 1 << 24);
  config.choice("norm_type", "ada_norm_zero", {"ada_norm_zero"});
  options.has_norm_weights = config.boolean("norm_elementwise_affine", false);
  options.epsilon = config.number("norm_eps", 1e-5, 0.0, 1.0);
  config.refuse_unread();
  if (options.features() % 4 != 0)
    config.fail(
        "attention_head_dim",
        concat("heads times head width must be a multiple of 4 for the position table, got ", options.features(), "."));
  if (options.patch > options.size)
    config.fail("patch_size", concat("must be at most sample_size ", options.size, ", got ", options.patch, "."));
  return options;
}

/// CombinedTimestepLabelEmbeddings. The class table has one more row: the null label.
struct ClassAndTime {
  PublishedTimeEmbedding time;
  nn::Embedding classes;
  ClassAndTime(PublishedWeights& weights, const std::string& name, const DiTOptions& options)
      : time(weights, name + ".timestep_embedder", kTimeFeatures, options.features()),
        classes(
            weights.embedding(name + ".class_embedder.embedding_table", options.num_classes + 1, options.features())) {}
  at::Tensor operator()(const at::Tensor& t_ND, const at::Tensor& label_N) const {
    return time(t_ND) + classes(label_N);
  }
};

struct Block {
  ClassAndTime embed;  // each block has its own
  nn::Linear modulate, query, key, value, project, mlp1, mlp2;
  nn::LayerNorm norm1, norm3;
  std::int64_t heads;
  bool has_exact_gelu;

  Block(PublishedWeights& weights, const std::string& name, const DiTOptions& options)
      : embed(weights, name + ".norm1.emb", options), heads(options.heads), has_exact_gelu(options.has_exact_gelu) {
    const std::int64_t features = options.features();
    modulate = weights.linear(name + ".norm1.linear", features, 6 * features);
    norm1 = weights.layer_norm(name + ".norm1.norm", features, false, kModulatedNormEpsilon);
    query = weights.linear(name + ".attn1.to_q", features, features, options.has_attention_bias);
    key = weights.linear(name + ".attn1.to_k", features, features, options.has_attention_bias);
    value = weights.linear(name + ".attn1.to_v", features, features, options.has_attention_bias);
    project = weights.linear(name + ".attn1.to_out.0", features, features);
    norm3 = weights.layer_norm(name + ".norm3", features, options.has_norm_weights, options.epsilon);
    mlp1 = weights.linear(name + ".ff.net.0.proj", features, 4 * features);
    mlp2 = weights.linear(name + ".ff.net.2", 4 * features, features);
  }

  at::Tensor attend(const at::Tensor& h_NLD) const {
    const auto split = [&](const at::Tensor& y_NLD) { return nn::split_heads(y_NLD, heads); };
    return project(nn::merge_heads(nn::attention(split(query(h_NLD)), split(key(h_NLD)), split(value(h_NLD)))));
  }

  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& t_ND, const at::Tensor& label_N) const {
    // shift, scale, gate of attention, then of the MLP
    const auto m = modulate(at::silu(embed(t_ND, label_N))).unsqueeze(1).chunk(6, 2);
    const at::Tensor x = m[2] * attend(norm1(x_NLD) * (m[1] + 1) + m[0]) + x_NLD;
    const at::Tensor h = mlp1(norm3(x) * (m[4] + 1) + m[3]);
    return m[5] * mlp2(at::gelu(h, has_exact_gelu ? "none" : "tanh")) + x;
  }
};

class PublishedDiT : public Backbone {
 public:
  PublishedDiT(const DiTOptions& options, PublishedSource source) : options_(options), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const std::int64_t features = options_.features();
    patch_ = weights.conv("pos_embed.proj", options_.in_channels, features, options_.patch, options_.patch);
    for (std::int64_t i = 0; i < options_.layers; ++i)
      blocks_.emplace_back(weights, concat("transformer_blocks.", i), options_);
    norm_ = weights.layer_norm("norm_out", features, false, kModulatedNormEpsilon);
    modulate_ = weights.linear("proj_out_1", features, 2 * features);
    out_ = weights.linear("proj_out_2", features, options_.patch * options_.patch * options_.out_channels);
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    expect_input(x, noise);
    const at::Tensor t_ND = published_timesteps(noise, {kTimeFeatures, 10000.0, true, 1.0});
    const at::Tensor label_N = published_labels(condition, x.size(0), options_.num_classes + 1);
    const std::int64_t side = x.size(2) / options_.patch;
    at::Tensor h = patch_(x).flatten(2).transpose(1, 2);
    h = h + published_positions({side, side, options_.size / options_.patch, 1.0, options_.features()}).to(h.device());
    for (const Block& block : blocks_) h = block(h, t_ND, label_N);
    // The peer takes the last modulation from the first block's embedding.
    const auto m = modulate_(at::silu(blocks_.front().embed(t_ND, label_N))).unsqueeze(1).chunk(2, 2);
    return published_unpatchify(out_(norm_(h) * (m[1] + 1) + m[0]), {side, side}, options_.patch);
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  void expect_input(const at::Tensor& x, const at::Tensor& noise) const {
    expect_forward_input(x, noise, options_.in_channels);
    if (x.size(2) != x.size(3) || x.size(2) < 1 || x.size(2) % options_.patch != 0)
      throw DataError(concat("network input: expected square pictures whose side is a multiple of patch_size ",
                             options_.patch, ", got ", x.size(2), " x ", x.size(3), "."));
  }

  DiTOptions options_;
  Parameters parameters_;
  nn::Conv2d patch_;
  std::vector<Block> blocks_;
  nn::LayerNorm norm_;
  nn::Linear modulate_, out_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_dit(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedDiT>(read_dit_options(config), std::move(source));
}

}  // namespace thaw::image
