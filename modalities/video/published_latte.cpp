// LatteTransformer3DModel of diffusers. Ma et al. 2024.
// N batch, C channels, T frames, H height, W width, L patches of a frame, D features

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/streaming.h"
#include "core/published_block.h"
#include "modalities/video/published.h"

namespace thaw::video {

namespace {

// Fixed in the peer's code.
constexpr std::int64_t kTimeFeatures = 256;
constexpr double kOutNormEpsilon = 1e-6;
constexpr nn::Sinusoid kSinusoid{kTimeFeatures, 10000.0, true, 0.0};

struct LatteOptions {
  std::int64_t heads, head_width, in_channels, out_channels, layers, text_features, caption_features, size, patch,
      frames;
  bool has_attention_bias, has_norm_weights;
  FeedForward::Kind mlp;
  double epsilon;
  std::int64_t features() const { return heads * head_width; }
  AdaSingleOptions block(bool reads_text) const {
    return {heads, head_width, reads_text ? text_features : 0, has_attention_bias, has_norm_weights, false,
            mlp,   epsilon};
  }
};

// Keys without a usable default in the peer: null there ends in an error of its own.
std::int64_t required(PublishedConfig& config, const std::string& key, std::int64_t maximum) {
  const auto value = config.integer_or_null(key, std::nullopt, 1, maximum);
  if (!value) config.fail(key, "expected a number, got none.");
  return *value;
}

LatteOptions read_options(PublishedConfig& config) {
  LatteOptions options{};
  // Training only; never used with ada_norm_single.
  for (const char* key : {"dropout", "num_embeds_ada_norm"}) config.accept(key);
  options.heads = config.integer("num_attention_heads", 16, 1, 4096);
  options.head_width = config.integer("attention_head_dim", 88, 1, 4096);
  options.in_channels = required(config, "in_channels", 1 << 16);
  options.out_channels = config.integer_or_null("out_channels", std::nullopt, 1, 1 << 16).value_or(options.in_channels);
  options.layers = config.integer("num_layers", 1, 1, 1024);
  options.text_features = config.integer_or_null("cross_attention_dim", std::nullopt, 1, 1 << 24).value_or(0);
  options.has_attention_bias = config.boolean("attention_bias", false);
  options.size = config.integer("sample_size", 64, 1, 1 << 16);
  options.patch = required(config, "patch_size", 1024);
  options.mlp = feed_forward_kind(config, "geglu");
  // The default of the peer, layer_norm, is told no timestep.
  if (config.choice("norm_type", "", {"ada_norm_single"}).empty())
    config.fail("norm_type", "is missing; expected ada_norm_single.");
  options.has_norm_weights = config.boolean("norm_elementwise_affine", true);
  options.epsilon = config.number("norm_eps", 1e-5, 0.0, 1.0);
  options.caption_features = required(config, "caption_channels", 1 << 16);
  options.frames = config.integer("video_length", 16, 1, 1 << 16);
  config.refuse_unread();
  if (options.features() % 4 != 0)
    config.fail(
        "attention_head_dim",
        concat("heads times head width must be a multiple of 4 for the position table, got ", options.features(), "."));
  if (options.text_features > 0 && options.text_features != options.features())
    config.fail("cross_attention_dim",
                concat("expected ", options.features(), ", the width captions are projected to, got ",
                       options.text_features, "."));
  if (options.patch > options.size)
    config.fail("patch_size", concat("must be at most sample_size ", options.size, ", got ", options.patch, "."));
  return options;
}

/// Sine and cosine of each frame's number, [T, D]; frequencies in double, as the peer's.
at::Tensor frame_positions(std::int64_t frames, std::int64_t features) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const at::Tensor exponent = at::arange(features / 2, options) / (static_cast<double>(features) / 2.0);
  const at::Tensor angle = at::outer(at::arange(frames, options), 1.0 / at::pow(10000.0, exponent));
  return at::cat({angle.sin(), angle.cos()}, 1).to(at::kFloat);
}

class PublishedLatte : public Backbone {
 public:
  PublishedLatte(const LatteOptions& options, PublishedSource source) : options_(options), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const std::int64_t features = options_.features();
    patch_ = weights.conv("pos_embed.proj", options_.in_channels, features, options_.patch, options_.patch);
    for (std::int64_t i = 0; i < options_.layers; ++i) {
      spatial_.emplace_back(weights, concat("transformer_blocks.", i), options_.block(true));
      temporal_.emplace_back(weights, concat("temporal_transformer_blocks.", i), options_.block(false));
    }
    norm_ = weights.layer_norm("norm_out", features, false, kOutNormEpsilon);
    table_2D_ = weights.take("scale_shift_table", {2, features});
    out_ = weights.linear("proj_out", features, options_.patch * options_.patch * options_.out_channels);
    time_ = PublishedTimeEmbedding(weights, "adaln_single.emb.timestep_embedder", kTimeFeatures, features);
    modulate_ = weights.linear("adaln_single.linear", features, 6 * features);
    caption_ = CaptionProjection(weights, "caption_projection", options_.caption_features, features);
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    expect_input(x, noise);
    const std::int64_t n = x.size(0), frames = x.size(2), features = options_.features();
    const std::int64_t rows = x.size(3) / options_.patch, columns = x.size(4) / options_.patch, l = rows * columns;
    const at::Tensor t_ND = time_(published_timesteps(noise, kSinusoid));
    const at::Tensor t_N6D = modulate_(at::silu(t_ND)).reshape({n, 6, features});
    const at::Tensor text = caption_(published_condition(condition, "text", {n, -1, options_.caption_features}))
                                .repeat_interleave(frames, 0);
    at::Tensor h_MLD = patch_(x.transpose(1, 2).flatten(0, 1)).flatten(2).transpose(1, 2);
    h_MLD = h_MLD + published_positions({rows, columns, options_.size / options_.patch,
                                         static_cast<double>(std::max<std::int64_t>(options_.size / 64, 1)), features})
                        .to(h_MLD.options());
    const at::Tensor t_M6D = t_N6D.repeat_interleave(frames, 0);
    const bool attends_in_time = is_temporal(condition);
    const at::Tensor t_P6D = attends_in_time ? t_N6D.repeat_interleave(l, 0) : at::Tensor();
    for (std::size_t i = 0; i < spatial_.size(); ++i) {
      h_MLD = spatial_[i](h_MLD, t_M6D, text, {});
      if (!attends_in_time) continue;
      at::Tensor h_PTD = h_MLD.reshape({n, frames, l, features}).transpose(1, 2).flatten(0, 1);
      // Once, before the first of them; a single frame has no place in time.
      if (i == 0 && frames > 1) h_PTD = h_PTD + frame_positions(frames, features).to(h_PTD.options());
      h_PTD = temporal_[i](h_PTD, t_P6D, {}, {});
      h_MLD = h_PTD.reshape({n, l, frames, features}).transpose(1, 2).flatten(0, 1);
    }
    const auto m = (nn::here(table_2D_).unsqueeze(0) + t_ND.repeat_interleave(frames, 0).unsqueeze(1)).chunk(2, 1);
    const at::Tensor y_MCHW =
        published_unpatchify(out_(norm_(h_MLD) * (1 + m[1]) + m[0]), {rows, columns}, options_.patch);
    return y_MCHW.reshape({n, frames, -1, x.size(3), x.size(4)}).transpose(1, 2);
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  void expect_input(const at::Tensor& x, const at::Tensor& noise) const {
    if (x.dim() != 5 || x.size(0) < 1 || x.size(1) != options_.in_channels)
      throw DataError(
          concat("network input: expected clips [N, ", options_.in_channels, ", T, H, W], got ", x.sizes(), "."));
    if (noise.dim() != 1 || noise.size(0) != x.size(0))
      throw DataError(concat("network timestep: expected [", x.size(0), "], got ", noise.sizes(), "."));
    // The peer's table of frames is of one length.
    if (x.size(2) != 1 && x.size(2) != options_.frames)
      throw DataError(
          concat("network input: expected 1 frame or video_length ", options_.frames, ", got ", x.size(2), "."));
    const std::int64_t p = options_.patch;
    if (x.size(3) < p || x.size(4) < p || x.size(3) % p != 0 || x.size(4) % p != 0)
      throw DataError(concat("network input: expected sides that are multiples of patch_size ", p, ", got ", x.size(3),
                             " x ", x.size(4), "."));
  }

  static bool is_temporal(const Condition& condition) {
    const auto found = condition.find("temporal");
    if (found == condition.end() || !found->second.defined()) return true;
    const at::Tensor number = found->second.to(at::kCPU, at::kDouble).contiguous();
    const double value = number.numel() == 1 ? *number.data_ptr<double>() : -1.0;
    if (value != 0.0 && value != 1.0)
      throw DataError(concat("network condition \"temporal\": expected one number, 0 or 1, got ",
                             number.numel() == 1 ? format_double(value) : concat(number.sizes()), "."));
    return value == 1.0;
  }

  LatteOptions options_;
  Parameters parameters_;
  nn::Conv2d patch_;
  std::vector<AdaSingleBlock> spatial_, temporal_;
  nn::LayerNorm norm_;
  at::Tensor table_2D_;
  nn::Linear out_, modulate_;
  PublishedTimeEmbedding time_;
  CaptionProjection caption_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_latte(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedLatte>(read_options(config), std::move(source));
}

}  // namespace thaw::video
