// PixArtTransformer2DModel of diffusers: PixArt alpha and sigma. Chen et al. 2023, 2024.
// N batch, L tokens, D features

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/streaming.h"
#include "core/published_block.h"
#include "modalities/images/published_attention.h"
#include "modalities/images/published_parts.h"

namespace thaw::image {

namespace {

// Fixed in the peer's code.
constexpr std::int64_t kTimeFeatures = 256;
constexpr double kOutNormEpsilon = 1e-6;
constexpr nn::Sinusoid kSinusoid{kTimeFeatures, 10000.0, true, 0.0};

struct PixArtOptions {
  std::int64_t heads, head_width, in_channels, out_channels, layers, text_features, caption_features, size, patch;
  bool has_attention_bias, has_norm_weights, is_upcast, knows_size;
  FeedForward::Kind mlp;
  double epsilon, position_scale;
  std::int64_t features() const { return heads * head_width; }
  AdaSingleOptions block() const {
    return {heads, head_width, text_features, has_attention_bias, has_norm_weights, is_upcast, mlp, epsilon};
  }
};

PixArtOptions read_options(PublishedConfig& config) {
  PixArtOptions options{};
  // Training only; never used by the peer.
  for (const char* key : {"dropout", "norm_num_groups", "num_embeds_ada_norm"}) config.accept(key);
  if (config.is_null("num_embeds_ada_norm")) config.fail("num_embeds_ada_norm", "expected a number, got null.");
  options.heads = config.integer("num_attention_heads", 16, 1, 4096);
  options.head_width = config.integer("attention_head_dim", 72, 1, 4096);
  options.in_channels = config.integer("in_channels", 4, 1, 1 << 16);
  options.out_channels = config.integer_or_null("out_channels", 8, 1, 1 << 16).value_or(options.in_channels);
  options.layers = config.integer("num_layers", 28, 1, 1024);
  options.text_features = config.integer_or_null("cross_attention_dim", 1152, 1, 1 << 16).value_or(0);
  if (options.text_features == 0) config.fail("cross_attention_dim", "expected a number, got null.");
  options.has_attention_bias = config.boolean("attention_bias", true);
  options.size = config.integer("sample_size", 128, 1, 1 << 16);
  options.patch = config.integer("patch_size", 2, 1, 1024);
  options.mlp = feed_forward_kind(config, "gelu-approximate");
  options.is_upcast = config.boolean("upcast_attention", false);
  config.choice("norm_type", "ada_norm_single", {"ada_norm_single"});
  config.choice("attention_type", "default", {"default"});
  options.has_norm_weights = config.boolean("norm_elementwise_affine", false);
  options.epsilon = config.number("norm_eps", 1e-6, 0.0, 1.0);
  const double natural = static_cast<double>(std::max<std::int64_t>(options.size / 64, 1));
  options.position_scale =
      config.is_null("interpolation_scale") ? natural : config.number("interpolation_scale", natural, 1e-6, 1e6);
  config.accept("interpolation_scale");
  // The networks for 1024 x 1024 are told size and aspect ratio.
  options.knows_size = config.is_null("use_additional_conditions")
                           ? options.size == 128
                           : config.boolean("use_additional_conditions", options.size == 128);
  config.accept("use_additional_conditions");
  options.caption_features = config.integer_or_null("caption_channels", std::nullopt, 1, 1 << 16).value_or(0);
  config.refuse_unread();
  if (options.features() % 4 != 0)
    config.fail("attention_head_dim", concat("heads times head width must be a multiple of 4 for the position table, "
                                             "got ",
                                             options.features(), "."));
  if (options.knows_size && options.features() % 3 != 0)
    config.fail("use_additional_conditions",
                concat("heads times head width must be a multiple of 3, got ", options.features(), "."));
  if (options.patch > options.size)
    config.fail("patch_size", concat("must be at most sample_size ", options.size, ", got ", options.patch, "."));
  return options;
}

class PublishedPixArt : public Backbone {
 public:
  PublishedPixArt(const PixArtOptions& options, PublishedSource source) : options_(options), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const std::int64_t features = options_.features();
    patch_ = weights.conv("pos_embed.proj", options_.in_channels, features, options_.patch, options_.patch);
    for (std::int64_t i = 0; i < options_.layers; ++i)
      blocks_.emplace_back(weights, concat("transformer_blocks.", i), options_.block());
    norm_ = weights.layer_norm("norm_out", features, false, kOutNormEpsilon);
    table_2D_ = weights.take("scale_shift_table", {2, features});
    out_ = weights.linear("proj_out", features, options_.patch * options_.patch * options_.out_channels);
    time_ = PublishedTimeEmbedding(weights, "adaln_single.emb.timestep_embedder", kTimeFeatures, features);
    if (options_.knows_size) {
      resolution_ =
          PublishedTimeEmbedding(weights, "adaln_single.emb.resolution_embedder", kTimeFeatures, features / 3);
      aspect_ = PublishedTimeEmbedding(weights, "adaln_single.emb.aspect_ratio_embedder", kTimeFeatures, features / 3);
    }
    modulate_ = weights.linear("adaln_single.linear", features, 6 * features);
    if (options_.caption_features > 0)
      caption_ = CaptionProjection(weights, "caption_projection", options_.caption_features, features);
    weights.refuse_left_over();
    if (options_.caption_features > 0 && features != options_.text_features)
      throw DataError(concat("config.json: cross_attention_dim: expected ", features,
                             ", the width captions are projected to, got ", options_.text_features, "."));
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    expect_input(x, noise);
    const at::Tensor t_ND = embed(noise, condition);
    const at::Tensor t_N6D = modulate_(at::silu(t_ND)).reshape({x.size(0), 6, options_.features()});
    const AttentionContext context = read_text(condition, x.size(0));
    const std::int64_t rows = x.size(2) / options_.patch, columns = x.size(3) / options_.patch;
    at::Tensor h = patch_(x).flatten(2).transpose(1, 2);
    h = h + published_positions(
                {rows, columns, options_.size / options_.patch, options_.position_scale, options_.features()})
                .to(h.options());
    for (const AdaSingleBlock& block : blocks_) h = block(h, t_N6D, context.text_NTD, context.text_bias);
    const auto m = (nn::here(table_2D_).unsqueeze(0) + t_ND.unsqueeze(1)).chunk(2, 1);
    return published_unpatchify(out_(norm_(h) * (1 + m[1]) + m[0]), {rows, columns}, options_.patch);
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  void expect_input(const at::Tensor& x, const at::Tensor& noise) const {
    expect_forward_input(x, noise, options_.in_channels);
    const std::int64_t p = options_.patch;
    if (x.size(2) < p || x.size(3) < p || x.size(2) % p != 0 || x.size(3) % p != 0)
      throw DataError(concat("network input: expected sides that are multiples of patch_size ", p, ", got ", x.size(2),
                             " x ", x.size(3), "."));
  }

  at::Tensor embed(const at::Tensor& noise, const Condition& condition) const {
    const std::int64_t n = noise.size(0);
    const at::Tensor t_ND = time_(published_timesteps(noise, kSinusoid));
    if (!options_.knows_size) return t_ND;
    const at::Tensor sides = published_condition(condition, "resolution", {n, 2});
    const at::Tensor aspect = published_condition(condition, "aspect_ratio", {n, 1});
    return t_ND + at::cat({resolution_(published_timesteps(sides.flatten(), kSinusoid)).reshape({n, -1}),
                           aspect_(published_timesteps(aspect.flatten(), kSinusoid)).reshape({n, -1})},
                          1);
  }

  AttentionContext read_text(const Condition& condition, std::int64_t batch) const {
    const bool is_projected = options_.caption_features > 0;
    AttentionContext context;
    context.text_NTD = published_condition(
        condition, "text", {batch, -1, is_projected ? options_.caption_features : options_.text_features});
    context.text_bias =
        attention_bias(published_condition(condition, "text_mask", {batch, context.text_NTD.size(1)}, false),
                       context.text_NTD.scalar_type());
    if (is_projected) context.text_NTD = caption_(context.text_NTD);
    return context;
  }

  PixArtOptions options_;
  Parameters parameters_;
  nn::Conv2d patch_;
  std::vector<AdaSingleBlock> blocks_;
  nn::LayerNorm norm_;
  at::Tensor table_2D_;
  nn::Linear out_, modulate_;
  CaptionProjection caption_;
  PublishedTimeEmbedding time_, resolution_, aspect_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_pixart(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedPixArt>(read_options(config), std::move(source));
}

}  // namespace thaw::image
