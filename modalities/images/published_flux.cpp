// FluxTransformer2DModel of diffusers: Flux.1. Black Forest Labs 2024; rotary positions by Su et al. 2021.
// N batch, L tokens, T text tokens, D features, h heads

#include <numeric>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/rotary.h"
#include "modalities/images/published_joint.h"

namespace thaw::image {

namespace {

constexpr std::int64_t kPack = 2;  // pixels of a latent a side of a token, as the peer's pipelines pack them

struct FluxOptions {
  std::int64_t in_features, out_features, layers, single_layers, head_width, heads, text_features, pooled_features;
  bool has_guidance;
  std::vector<std::int64_t> axes;
  std::int64_t features() const { return heads * head_width; }
};

FluxOptions read_options(PublishedConfig& config) {
  FluxOptions options{};
  // Tokens come packed: a patch is one token.
  if (config.integer("patch_size", 1, 1, 1024) != 1) config.fail("patch_size", "only 1 is read.");
  options.in_features = config.integer("in_channels", 64, 1, 1 << 16);
  options.out_features = config.integer_or_null("out_channels", std::nullopt, 1, 1 << 16).value_or(options.in_features);
  options.layers = config.integer("num_layers", 19, 0, 1024);
  options.single_layers = config.integer("num_single_layers", 38, 0, 1024);
  options.head_width = config.integer("attention_head_dim", 128, 1, 4096);
  options.heads = config.integer("num_attention_heads", 24, 1, 4096);
  options.text_features = config.integer("joint_attention_dim", 4096, 1, 1 << 16);
  options.pooled_features = config.integer("pooled_projection_dim", 768, 1, 1 << 16);
  options.has_guidance = config.boolean("guidance_embeds", false);
  options.axes = config.integers("axes_dims_rope", {16, 56, 56}, 2, 4096);
  config.refuse_unread();
  for (const std::int64_t axis : options.axes)
    if (axis % 2 != 0) config.fail("axes_dims_rope", concat("expected even numbers, got ", axis, "."));
  const std::int64_t sum = std::accumulate(options.axes.begin(), options.axes.end(), std::int64_t{0});
  if (options.axes.size() != 3 || sum != options.head_width)
    config.fail("axes_dims_rope", concat("expected three numbers whose sum is attention_head_dim ", options.head_width,
                                         ", got ", options.axes.size(), " with sum ", sum, "."));
  for (const char* key : {"in_channels", "out_channels"})
    if ((key[0] == 'i' ? options.in_features : options.out_features) % (kPack * kPack) != 0)
      config.fail(key, concat("expected a multiple of ", kPack * kPack, ", the pixels of a token."));
  return options;
}

at::Tensor attend_rotated(const HeadProjection::Heads& heads, const nn::Rotation& rotation) {
  return attend(nn::rotated(heads.q_NhLD, rotation), nn::rotated(heads.k_NhLD, rotation), heads.v_NhLD);
}

/// Beyond it float16 has no numbers; the peer clips there alone.
at::Tensor clipped(const at::Tensor& x) {
  return x.scalar_type() == at::kHalf ? x.clamp(-65504, 65504) : x;
}

/// One of the streams of a FluxTransformerBlock.
struct Stream {
  Modulation norm1;
  HeadProjection heads;
  nn::Linear out;
  nn::LayerNorm norm2;
  FeedForward mlp;

  Stream(PublishedWeights& weights, const std::string& name, bool is_text, const FluxOptions& options)
      : norm1(weights, name + (is_text ? ".norm1_context" : ".norm1"), options.features(), 6),
        heads(weights, is_text ? HeadProjection::added(name + ".attn") : HeadProjection::own(name + ".attn"),
              options.features(), options.heads, true),
        out(weights.linear(name + (is_text ? ".attn.to_add_out" : ".attn.to_out.0"), options.features(),
                           options.features())),
        norm2(weights.layer_norm(name + ".norm2", options.features(), false, 1e-6)),
        mlp(weights, name + (is_text ? ".ff_context" : ".ff"), options.features(), FeedForward::Kind::kGeluTanh) {}

  at::Tensor finish(const at::Tensor& x_NLD, const at::Tensor& mixed_NLD, const std::vector<at::Tensor>& m) const {
    const at::Tensor x = x_NLD + m[2] * out(mixed_NLD);
    return x + m[5] * mlp(norm2(x) * (1 + m[4]) + m[3]);
  }
};

struct Block {
  Stream picture, text;
  Block(PublishedWeights& weights, const std::string& name, const FluxOptions& options)
      : picture(weights, name, false, options), text(weights, name, true, options) {}

  void operator()(at::Tensor& x_NLD, at::Tensor& text_NTD, const at::Tensor& embedding_ND,
                  const nn::Rotation& rotation) const {
    const auto m = picture.norm1(embedding_ND), mt = text.norm1(embedding_ND);
    const HeadProjection::Heads both = joined(text.heads(text.norm1.norm(text_NTD) * (1 + mt[1]) + mt[0]),
                                              picture.heads(picture.norm1.norm(x_NLD) * (1 + m[1]) + m[0]));
    const at::Tensor mixed = attend_rotated(both, rotation);
    const std::int64_t t = text_NTD.size(1);
    x_NLD = picture.finish(x_NLD, mixed.narrow(1, t, mixed.size(1) - t), m);
    text_NTD = clipped(text.finish(text_NTD, mixed.narrow(1, 0, t), mt));
  }
};

/// FluxSingleTransformerBlock: attention and MLP side by side on both streams as one.
struct SingleBlock {
  Modulation norm;
  HeadProjection heads;
  nn::Linear mlp, out;
  SingleBlock(PublishedWeights& weights, const std::string& name, const FluxOptions& options)
      : norm(weights, name + ".norm", options.features(), 3),
        heads(weights, HeadProjection::own(name + ".attn"), options.features(), options.heads, true),
        mlp(weights.linear(name + ".proj_mlp", options.features(), 4 * options.features())),
        out(weights.linear(name + ".proj_out", 5 * options.features(), options.features())) {}

  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& embedding_ND, const nn::Rotation& rotation) const {
    const auto m = norm(embedding_ND);
    const at::Tensor h = norm.norm(x_NLD) * (1 + m[1]) + m[0];
    const at::Tensor both = at::cat({attend_rotated(heads(h), rotation), at::gelu(mlp(h), "tanh")}, 2);
    return clipped(x_NLD + m[2] * out(both));
  }
};

class PublishedFlux : public Backbone {
 public:
  PublishedFlux(FluxOptions options, PublishedSource source) : options_(std::move(options)), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const std::int64_t features = options_.features();
    embed_ = TimeTextEmbedding(weights, features, options_.pooled_features, options_.has_guidance);
    text_ = weights.linear("context_embedder", options_.text_features, features);
    in_ = weights.linear("x_embedder", options_.in_features, features);
    for (std::int64_t i = 0; i < options_.layers; ++i)
      blocks_.emplace_back(weights, concat("transformer_blocks.", i), options_);
    for (std::int64_t i = 0; i < options_.single_layers; ++i)
      singles_.emplace_back(weights, concat("single_transformer_blocks.", i), options_);
    norm_ = FinalNorm(weights, "norm_out", features);
    out_ = weights.linear("proj_out", features, options_.out_features);
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    if (x.dim() == 3) return tokens(x, noise, condition);
    expect_forward_input(x, noise, options_.in_features / (kPack * kPack));
    const std::int64_t n = x.size(0), rows = x.size(2) / kPack, columns = x.size(3) / kPack;
    if (rows < 1 || columns < 1 || x.size(2) % kPack != 0 || x.size(3) % kPack != 0)
      throw DataError(concat("network input: expected even sides, got ", x.size(2), " x ", x.size(3), "."));
    // Channels first inside a token.
    const at::Tensor packed = x.reshape({n, -1, rows, kPack, columns, kPack})
                                  .permute({0, 2, 4, 1, 3, 5})
                                  .reshape({n, rows * columns, options_.in_features});
    Condition whole = condition;
    const auto kind = x.options().dtype(at::kFloat);
    at::Tensor& places = whole["image_places"];
    if (!places.defined()) {
      const auto row = at::arange(rows, kind).unsqueeze(1).expand({rows, columns});
      const auto column = at::arange(columns, kind).unsqueeze(0).expand({rows, columns});
      places = at::stack({at::zeros({rows, columns}, kind), row, column}, 2).reshape({rows * columns, 3});
    }
    return tokens(packed, noise, whole)
        .reshape({n, rows, columns, -1, kPack, kPack})
        .permute({0, 3, 1, 4, 2, 5})
        .reshape({n, -1, kPack * rows, kPack * columns});
  }
  const Parameters& parameters() const override { return parameters_; }
  bool takes_guidance() const override { return options_.has_guidance; }

 private:
  /// x [N, L, in_features]; condition "image_places" [L, 3], and "text_places" [T, 3], zeros where absent.
  at::Tensor tokens(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const {
    const std::int64_t n = x.size(0);
    if (x.size(2) != options_.in_features || noise.dim() != 1 || noise.size(0) != n)
      throw DataError(concat("network input: expected tokens [N, L, ", options_.in_features,
                             "] and timesteps [N], got ", x.sizes(), " and ", noise.sizes(), "."));
    const at::Tensor pooled = published_condition(condition, "pooled", {n, options_.pooled_features});
    at::Tensor guidance;
    if (options_.has_guidance)
      guidance = published_condition(condition, "guidance", {n}).to(noise.scalar_type()) * 1000;
    const at::Tensor embedding_ND = embed_(noise, guidance, pooled);
    at::Tensor text = text_(published_condition(condition, "text", {n, -1, options_.text_features}));
    const at::Tensor places = published_condition(condition, "image_places", {x.size(1), 3});
    at::Tensor text_places = published_condition(condition, "text_places", {text.size(1), 3}, false);
    if (!text_places.defined()) text_places = at::zeros({text.size(1), 3}, places.options());
    const nn::Rotation rotation = nn::rotation_of(at::cat({text_places, places}), options_.axes);
    at::Tensor h = in_(x);
    for (const Block& block : blocks_) block(h, text, embedding_ND, rotation);
    at::Tensor both = at::cat({text, h}, 1);
    for (const SingleBlock& block : singles_) both = block(both, embedding_ND, rotation);
    return out_(norm_(both.narrow(1, text.size(1), h.size(1)), embedding_ND));
  }

  FluxOptions options_;
  Parameters parameters_;
  TimeTextEmbedding embed_;
  nn::Linear text_, in_, out_;
  std::vector<Block> blocks_;
  std::vector<SingleBlock> singles_;
  FinalNorm norm_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_flux(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedFlux>(read_options(config), std::move(source));
}

}  // namespace thaw::image
