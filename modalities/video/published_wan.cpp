// WanTransformer3DModel of diffusers: Wan 2.1 and 2.2. Wan Team 2025.
// N batch, C channels, T frames, H height, W width, L patches, S tokens of a source, D features, h heads

#include <array>
#include <optional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/patches.h"
#include "core/nn/rotary.h"
#include "core/nn/streaming.h"
#include "core/published_layers.h"
#include "modalities/video/published.h"

namespace thaw::video {

namespace {

// Fixed in the peer's code.
constexpr std::int64_t kTextTokens = 512;  // behind the tokens of the image, where a network attends to those apart
constexpr double kImageNormEpsilon = 1e-5;

struct WanOptions {
  nn::Patch3d patch;
  std::int64_t heads, head_width, in_channels, out_channels, text_features, time_features, mlp_features, layers;
  bool norms_before_text;
  double epsilon;
  std::int64_t image_features, added_features, most_places, image_places;  // 0: none
  std::int64_t features() const { return heads * head_width; }
};

WanOptions read_options(PublishedConfig& config) {
  WanOptions options{};
  const std::vector<std::int64_t> patch = config.integers("patch_size", {1, 2, 2}, 1, 1024);
  if (patch.size() != 3) config.fail("patch_size", concat("expected three numbers, got ", patch.size(), "."));
  options.patch = {patch[0], patch[1], patch[2]};
  options.heads = config.integer("num_attention_heads", 40, 1, 4096);
  options.head_width = config.integer("attention_head_dim", 128, 2, 4096);
  options.in_channels = config.integer("in_channels", 16, 1, 1 << 16);
  options.out_channels = config.integer_or_null("out_channels", 16, 1, 1 << 16).value_or(options.in_channels);
  options.text_features = config.integer("text_dim", 4096, 1, 1 << 16);
  options.time_features = config.integer("freq_dim", 256, 2, 1 << 16);
  options.mlp_features = config.integer("ffn_dim", 13824, 1, 1 << 20);
  options.layers = config.integer("num_layers", 40, 1, 1024);
  options.norms_before_text = config.boolean("cross_attn_norm", true);
  // The peer reads no other value and norms whatever stands here.
  config.choice("qk_norm", "rms_norm_across_heads", {"rms_norm_across_heads"});
  options.epsilon = config.number("eps", 1e-6, 0.0, 1.0);
  options.image_features = config.integer_or_null("image_dim", std::nullopt, 1, 1 << 16).value_or(0);
  options.added_features = config.integer_or_null("added_kv_proj_dim", std::nullopt, 1, 1 << 24).value_or(0);
  options.most_places = config.integer("rope_max_seq_len", 1024, 1, 1 << 20);
  options.image_places = config.integer_or_null("pos_embed_seq_len", std::nullopt, 1, 1 << 20).value_or(0);
  config.refuse_unread();
  if (options.head_width % 2 != 0)
    config.fail("attention_head_dim", concat("expected an even number, got ", options.head_width, "."));
  if (options.added_features > 0 && options.added_features != options.features())
    config.fail("added_kv_proj_dim", concat("expected ", options.features(),
                                            ", the width images are projected to, got ", options.added_features, "."));
  if (options.added_features > 0 && options.image_features == 0)
    config.fail("added_kv_proj_dim", "needs image_dim, the width of the images.");
  if (options.image_places % 2 != 0)
    config.fail("pos_embed_seq_len", concat("is of two images and even, got ", options.image_places, "."));
  return options;
}

at::Tensor wide(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

/// FP32LayerNorm: in float32 whatever the weights are.
struct WideNorm {
  nn::LayerNorm norm;
  at::Tensor operator()(const at::Tensor& x) const {
    const auto widened = [](const at::Tensor& weight) {
      return weight.defined() ? wide(nn::here(weight)) : at::Tensor();
    };
    return at::layer_norm(wide(x), {norm.features}, widened(norm.weight), widened(norm.bias), norm.epsilon);
  }
};

/// Queries and keys are normed across all heads; an image's keys and values are attended to apart from the text's.
struct WanAttention {
  nn::Linear query, key, value, project, image_key, image_value;
  nn::RmsNorm query_norm, key_norm, image_norm;
  std::int64_t heads;

  WanAttention(PublishedWeights& weights, const std::string& name, const WanOptions& options, bool reads_image)
      : heads(options.heads) {
    const std::int64_t d = options.features();
    query = weights.linear(name + ".to_q", d, d);
    key = weights.linear(name + ".to_k", d, d);
    value = weights.linear(name + ".to_v", d, d);
    project = weights.linear(name + ".to_out.0", d, d);
    query_norm = weights.rms_norm(name + ".norm_q", d, options.epsilon);
    key_norm = weights.rms_norm(name + ".norm_k", d, options.epsilon);
    if (!reads_image) return;
    image_key = weights.linear(name + ".add_k_proj", options.added_features, d);
    image_value = weights.linear(name + ".add_v_proj", options.added_features, d);
    image_norm = weights.rms_norm(name + ".norm_added_k", d, options.epsilon);
  }

  at::Tensor split(const at::Tensor& x_NLD) const { return nn::split_heads(x_NLD, heads); }

  at::Tensor to_itself(const at::Tensor& x_NLD, const nn::Rotation& rotation) const {
    const at::Tensor q_NhLD = nn::rotated(split(query_norm(query(x_NLD))), rotation);
    const at::Tensor k_NhLD = nn::rotated(split(key_norm(key(x_NLD))), rotation);
    return project(attend(q_NhLD, k_NhLD, split(value(x_NLD))));
  }

  at::Tensor to_source(const at::Tensor& x_NLD, const at::Tensor& source_NSD) const {
    const at::Tensor q_NhLD = split(query_norm(query(x_NLD)));
    if (!image_key.weight.defined())
      return project(attend(q_NhLD, split(key_norm(key(source_NSD))), split(value(source_NSD))));
    const std::int64_t images = source_NSD.size(1) - kTextTokens;
    const at::Tensor image = source_NSD.narrow(1, 0, images), text = source_NSD.narrow(1, images, kTextTokens);
    return project(attend(q_NhLD, split(key_norm(key(text))), split(value(text))) +
                   attend(q_NhLD, split(image_norm(image_key(image))), split(image_value(image))));
  }
};

struct WanBlock {
  at::Tensor table_16D;
  WideNorm norm1, norm2, norm3;
  WanAttention attend, attend_source;
  FeedForward mlp;

  WanBlock(PublishedWeights& weights, const std::string& name, const WanOptions& options)
      : table_16D(weights.take(name + ".scale_shift_table", {1, 6, options.features()})),
        norm1{weights.layer_norm(name + ".norm1", options.features(), false, options.epsilon)},
        norm2{options.norms_before_text ? weights.layer_norm(name + ".norm2", options.features(), true, options.epsilon)
                                        : nn::LayerNorm()},
        norm3{weights.layer_norm(name + ".norm3", options.features(), false, options.epsilon)},
        attend(weights, name + ".attn1", options, false),
        attend_source(weights, name + ".attn2", options, options.added_features > 0),
        mlp(weights, name + ".ffn", {options.features(), options.mlp_features, options.features()},
            FeedForward::Kind::kGeluTanh) {}

  /// t [N, 1 or L, 6, D]
  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& t_NL6D, const at::Tensor& source_NSD,
                        const nn::Rotation& rotation) const {
    const at::ScalarType type = x_NLD.scalar_type();
    // shift, scale, gate of attention, then of the MLP: in float32, as tables and sums are in the peer
    const auto m = (wide(nn::here(table_16D)).unsqueeze(0) + wide(t_NL6D)).unbind(2);
    at::Tensor x =
        (wide(x_NLD) + attend.to_itself((norm1(x_NLD) * (1 + m[1]) + m[0]).to(type), rotation) * m[2]).to(type);
    x = x + attend_source.to_source(norm2.norm.features > 0 ? norm2(x).to(type) : x, source_NSD);
    const at::Tensor h = mlp((norm3(x) * (1 + m[4]) + m[3]).to(type));
    return (wide(x) + wide(h) * m[5]).to(type);
  }
};

/// WanImageEmbedding: states of an image encoder, of one image or of the first and the last.
struct ImageEmbedding {
  WideNorm norm1, norm2;
  FeedForward mlp;
  at::Tensor places;

  ImageEmbedding(PublishedWeights& weights, const std::string& name, const WanOptions& options)
      : norm1{weights.layer_norm(name + ".norm1", options.image_features, true, kImageNormEpsilon)},
        norm2{weights.layer_norm(name + ".norm2", options.features(), true, kImageNormEpsilon)},
        mlp(weights, name + ".ff", {options.image_features, options.image_features, options.features()},
            FeedForward::Kind::kGelu) {
    if (options.image_places > 0)
      places = weights.take(name + ".pos_embed", {1, options.image_places, options.image_features});
  }

  at::Tensor operator()(const Condition& condition, std::int64_t batch) const {
    const std::int64_t images = places.defined() ? 2 : 1, width = norm1.norm.features;
    at::Tensor x = published_condition(condition, "image",
                                       {batch * images, places.defined() ? places.size(1) / images : -1, width});
    if (places.defined()) x = x.reshape({batch, places.size(1), width}) + nn::here(places);
    const at::ScalarType type = x.scalar_type();
    return norm2(mlp(norm1(x).to(type))).to(type);
  }
};

// Files of the image networks hold norms that the peer does not read either.
PublishedSource without_query_norms_of_images(PublishedSource source) {
  std::erase_if(source.tensors, [](const auto& one) { return one.first.find(".norm_added_q.") != std::string::npos; });
  return source;
}

class PublishedWan : public Backbone {
 public:
  PublishedWan(const WanOptions& options, PublishedSource source) : options_(options), parameters_(0) {
    PublishedWeights weights(without_query_norms_of_images(std::move(source)), parameters_);
    const std::int64_t d = options_.features(), c = options_.in_channels;
    patch_weight_ = weights.take("patch_embedding.weight",
                                 {d, c, options_.patch.times, options_.patch.rows, options_.patch.columns});
    patch_bias_ = weights.take("patch_embedding.bias", {d});
    time_ = PublishedTimeEmbedding(weights, "condition_embedder.time_embedder", options_.time_features, d);
    modulate_ = weights.linear("condition_embedder.time_proj", d, 6 * d);
    text_ = CaptionProjection(weights, "condition_embedder.text_embedder", options_.text_features, d);
    if (options_.image_features > 0) image_.emplace(weights, "condition_embedder.image_embedder", options_);
    for (std::int64_t i = 0; i < options_.layers; ++i) blocks_.emplace_back(weights, concat("blocks.", i), options_);
    norm_ = {weights.layer_norm("norm_out", d, false, options_.epsilon)};
    table_12D_ = weights.take("scale_shift_table", {1, 2, d});
    out_ = weights.linear("proj_out", d, options_.out_channels * options_.patch.size());
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    const nn::Grid3d grid = expect_input(x, noise);
    const std::int64_t n = x.size(0), d = options_.features();
    // [N, 1, D], or a time of its own for each patch
    const at::Tensor t_NLD =
        time_(published_timesteps(noise.flatten(), {options_.time_features, 10000.0, true, 0.0})).reshape({n, -1, d});
    const at::Tensor t_NL6D = modulate_(at::silu(t_NLD)).unflatten(2, {6, d});
    const at::Tensor source_NSD = read_sources(condition, n);
    const nn::Rotation rotation =
        nn::rotation_of(nn::places_3d(grid, x.device()), nn::rotary_axes_3d(options_.head_width));
    at::Tensor h = at::conv3d(x, nn::here(patch_weight_), nn::here(patch_bias_),
                              {options_.patch.times, options_.patch.rows, options_.patch.columns})
                       .flatten(2)
                       .transpose(1, 2)
                       .contiguous();
    for (const WanBlock& block : blocks_) h = block(h, t_NL6D, source_NSD, rotation);
    const auto m = (wide(nn::here(table_12D_)).unsqueeze(0) + wide(t_NLD).unsqueeze(2)).unbind(2);
    const at::Tensor y_NLP = out_((norm_(h) * (1 + m[1]) + m[0]).to(h.scalar_type()));
    // Channels are last inside a patch.
    return nn::unpatchify_3d(y_NLP.unflatten(2, {options_.patch.size(), -1}).transpose(2, 3).flatten(2), grid,
                             options_.patch);
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  nn::Grid3d expect_input(const at::Tensor& x, const at::Tensor& noise) const {
    const nn::Patch3d& p = options_.patch;
    if (x.dim() != 5 || x.size(0) < 1 || x.size(1) != options_.in_channels)
      throw DataError(
          concat("network input: expected clips [N, ", options_.in_channels, ", T, H, W], got ", x.sizes(), "."));
    const nn::Grid3d grid{x.size(2) / p.times, x.size(3) / p.rows, x.size(4) / p.columns};
    for (const auto& [cells, patch, size] : {std::array{grid.times, p.times, x.size(2)},
                                             {grid.rows, p.rows, x.size(3)},
                                             {grid.columns, p.columns, x.size(4)}})
      if (cells < 1 || cells > options_.most_places || cells * patch != size)
        throw DataError(concat("network input: expected multiples of patch_size [", p.times, ", ", p.rows, ", ",
                               p.columns, "] up to rope_max_seq_len ", options_.most_places, " times those, got ",
                               x.sizes(), "."));
    const bool is_each = noise.dim() == 2 && noise.size(1) == grid.size();
    if ((noise.dim() != 1 && !is_each) || noise.size(0) != x.size(0))
      throw DataError(concat("network timestep: expected [", x.size(0), "] or [", x.size(0), ", ", grid.size(),
                             "], got ", noise.sizes(), "."));
    return grid;
  }

  at::Tensor read_sources(const Condition& condition, std::int64_t batch) const {
    const bool is_apart = options_.added_features > 0;
    const at::Tensor text =
        text_(published_condition(condition, "text", {batch, is_apart ? kTextTokens : -1, options_.text_features}));
    const auto image = condition.find("image");
    const bool has_image = image != condition.end() && image->second.defined();
    if (has_image && !image_)
      throw DataError("network condition \"image\": this network has no image_dim, but an image is given.");
    // Networks that attend to images apart have no answer without one.
    return has_image || is_apart ? at::cat({(*image_)(condition, batch), text}, 1) : text;
  }

  WanOptions options_;
  Parameters parameters_;
  at::Tensor patch_weight_, patch_bias_, table_12D_;
  PublishedTimeEmbedding time_;
  nn::Linear modulate_, out_;
  CaptionProjection text_;
  std::optional<ImageEmbedding> image_;
  std::vector<WanBlock> blocks_;
  WideNorm norm_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_wan(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedWan>(read_options(config), std::move(source));
}

}  // namespace thaw::video
