// SD3Transformer2DModel of diffusers: Stable Diffusion 3 and 3.5. Esser et al. 2024.
// N batch, L tokens, T text tokens, D features

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/streaming.h"
#include "modalities/images/published_joint.h"

namespace thaw::image {

namespace {

struct Sd3Options {
  std::int64_t size, patch, in_channels, out_channels, layers, head_width, heads, text_features, caption_features,
      pooled_features, table_side;
  std::vector<std::int64_t> dual_layers;
  bool has_norm;
  std::int64_t features() const { return heads * head_width; }
};

Sd3Options read_options(PublishedConfig& config) {
  Sd3Options options{};
  options.size = config.integer("sample_size", 128, 1, 1 << 16);
  options.patch = config.integer("patch_size", 2, 1, 1024);
  options.in_channels = config.integer("in_channels", 16, 1, 1 << 16);
  options.out_channels = config.integer_or_null("out_channels", 16, 1, 1 << 16).value_or(options.in_channels);
  options.layers = config.integer("num_layers", 18, 1, 1024);
  options.head_width = config.integer("attention_head_dim", 64, 1, 4096);
  options.heads = config.integer("num_attention_heads", 18, 1, 4096);
  options.text_features = config.integer("joint_attention_dim", 4096, 1, 1 << 16);
  options.caption_features = config.integer("caption_projection_dim", 1152, 1, 1 << 24);
  options.pooled_features = config.integer("pooled_projection_dim", 2048, 1, 1 << 16);
  options.table_side = config.integer("pos_embed_max_size", 96, 1, 1 << 14);
  options.dual_layers = config.integers("dual_attention_layers", {}, 0, 1023);
  options.has_norm = config.choice("qk_norm", "null", {"null", "rms_norm"}) == "rms_norm";
  config.refuse_unread();
  if (options.caption_features != options.features())
    config.fail("caption_projection_dim", concat("expected ", options.features(), ", the width of the network, got ",
                                                 options.caption_features, "."));
  return options;
}

/// JointTransformerBlock. The last one only reads the text.
struct Block {
  Modulation norm1, norm1_text;
  HeadProjection heads, heads_text, heads2;
  nn::Linear out, out_text, out2;
  nn::LayerNorm norm2, norm2_text;
  std::optional<FeedForward> mlp, mlp_text;
  bool has_second, writes_text;

  Block(PublishedWeights& weights, const std::string& name, const Sd3Options& options, std::int64_t index)
      : has_second(std::find(options.dual_layers.begin(), options.dual_layers.end(), index) !=
                   options.dual_layers.end()),
        writes_text(index + 1 < options.layers) {
    const std::int64_t d = options.features();
    norm1 = Modulation(weights, name + ".norm1", d, has_second ? 9 : 6);
    norm1_text = Modulation(weights, name + ".norm1_context", d, writes_text ? 6 : 2);
    heads = HeadProjection(weights, HeadProjection::own(name + ".attn"), d, options.heads, options.has_norm);
    heads_text = HeadProjection(weights, HeadProjection::added(name + ".attn"), d, options.heads, options.has_norm);
    out = weights.linear(name + ".attn.to_out.0", d, d);
    if (has_second) {
      heads2 = HeadProjection(weights, HeadProjection::own(name + ".attn2"), d, options.heads, options.has_norm);
      out2 = weights.linear(name + ".attn2.to_out.0", d, d);
    }
    norm2 = weights.layer_norm(name + ".norm2", d, false, 1e-6);
    mlp.emplace(weights, name + ".ff", d, FeedForward::Kind::kGeluTanh);
    if (!writes_text) return;
    out_text = weights.linear(name + ".attn.to_add_out", d, d);
    norm2_text = weights.layer_norm(name + ".norm2_context", d, false, 1e-6);
    mlp_text.emplace(weights, name + ".ff_context", d, FeedForward::Kind::kGeluTanh);
  }

  void operator()(at::Tensor& x_NLD, at::Tensor& text_NTD, const at::Tensor& embedding_ND) const {
    // shift, scale, gate of attention, of the MLP, of the second attention
    const auto m = norm1(embedding_ND), mt = norm1_text(embedding_ND);
    const at::Tensor h = norm1.norm(x_NLD), ht = norm1_text.norm(text_NTD);
    const at::Tensor h_text = writes_text ? ht * (1 + mt[1]) + mt[0] : ht * (1 + mt[0]) + mt[1];
    const HeadProjection::Heads both = joined(heads(h * (1 + m[1]) + m[0]), heads_text(h_text));
    const at::Tensor mixed = attend(both.q_NhLD, both.k_NhLD, both.v_NhLD);
    const std::int64_t l = x_NLD.size(1);
    at::Tensor x = x_NLD + m[2] * out(mixed.narrow(1, 0, l));
    if (has_second) {
      const HeadProjection::Heads own = heads2(h * (1 + m[7]) + m[6]);
      x = x + m[8] * out2(attend(own.q_NhLD, own.k_NhLD, own.v_NhLD));
    }
    x_NLD = x + m[5] * (*mlp)(norm2(x) * (1 + m[4]) + m[3]);
    if (!writes_text) return;
    const at::Tensor text = text_NTD + mt[2] * out_text(mixed.narrow(1, l, mixed.size(1) - l));
    text_NTD = text + mt[5] * (*mlp_text)(norm2_text(text) * (1 + mt[4]) + mt[3]);
  }
};

class PublishedSd3 : public Backbone {
 public:
  PublishedSd3(Sd3Options options, PublishedSource source) : options_(std::move(options)), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const std::int64_t features = options_.features(), side = options_.table_side;
    positions_ = weights.take_constant("pos_embed.pos_embed", {1, side * side, features});
    patch_ = weights.conv("pos_embed.proj", options_.in_channels, features, options_.patch, options_.patch);
    embed_ = TimeTextEmbedding(weights, features, options_.pooled_features, false);
    text_ = weights.linear("context_embedder", options_.text_features, options_.caption_features);
    for (std::int64_t i = 0; i < options_.layers; ++i)
      blocks_.emplace_back(weights, concat("transformer_blocks.", i), options_, i);
    norm_ = FinalNorm(weights, "norm_out", features);
    out_ = weights.linear("proj_out", features, options_.patch * options_.patch * options_.out_channels);
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    expect_input(x, noise);
    const std::int64_t n = x.size(0), rows = x.size(2) / options_.patch, columns = x.size(3) / options_.patch;
    const at::Tensor pooled = published_condition(condition, "pooled", {n, options_.pooled_features});
    const at::Tensor embedding_ND = embed_(noise, {}, pooled);
    at::Tensor text = text_(published_condition(condition, "text", {n, -1, options_.text_features}));
    at::Tensor h = patch_(x).flatten(2).transpose(1, 2).contiguous() + positions(rows, columns);
    for (const Block& block : blocks_) block(h, text, embedding_ND);
    return published_unpatchify(out_(norm_(h, embedding_ND)), {rows, columns}, options_.patch);
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  void expect_input(const at::Tensor& x, const at::Tensor& noise) const {
    expect_forward_input(x, noise, options_.in_channels);
    const std::int64_t p = options_.patch, most = options_.table_side * p;
    for (const std::int64_t side : {x.size(2), x.size(3)})
      if (side < p || side > most || side % p != 0)
        throw DataError(concat("network input: expected sides that are multiples of patch_size ", p, " up to ", most,
                               " (pos_embed_max_size), got ", x.size(2), " x ", x.size(3), "."));
  }

  /// The middle of the table.
  at::Tensor positions(std::int64_t rows, std::int64_t columns) const {
    const std::int64_t side = options_.table_side;
    return nn::here(positions_)
        .reshape({side, side, -1})
        .narrow(0, (side - rows) / 2, rows)
        .narrow(1, (side - columns) / 2, columns)
        .reshape({1, rows * columns, -1});
  }

  Sd3Options options_;
  Parameters parameters_;
  at::Tensor positions_;
  nn::Conv2d patch_;
  TimeTextEmbedding embed_;
  nn::Linear text_, out_;
  std::vector<Block> blocks_;
  FinalNorm norm_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_sd3(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedSd3>(read_options(config), std::move(source));
}

}  // namespace thaw::image
