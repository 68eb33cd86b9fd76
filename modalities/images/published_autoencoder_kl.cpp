// AutoencoderKL of diffusers: the autoencoder of Stable Diffusion 1 to 3 and Flux. Rombach et al. 2022.

#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/images/published_autoencoder.h"
#include "modalities/images/published_bands.h"

namespace thaw::image {

namespace {

// Fixed in the peer's code.
constexpr double kEpsilon = 1e-6, kMinLogVariance = -30.0, kMaxLogVariance = 20.0;

struct KlOptions {
  LatentSpec latent;
  std::int64_t out_channels;
  std::vector<std::int64_t> widths;
  std::int64_t layers, groups;
  Activation activation;
  bool has_encoder_mix, has_decoder_mix, has_attention;

  ResnetOptions resnet() const { return {0, groups, kEpsilon, activation, false, 1.0}; }
};

void expect_blocks(PublishedConfig& config, const std::string& key, const std::string& kind, std::size_t levels) {
  const std::vector<std::string> types = config.texts(key, {kind});
  for (const std::string& type : types)
    if (type != kind) config.fail(key, concat("unknown block \"", type, "\". Known: ", kind, "."));
  if (types.size() != levels)
    config.fail(key,
                concat("expected ", levels, " blocks, one a level of block_out_channels, got ", types.size(), "."));
}

/// Mean and spread of the latents: channel by channel where the file says so, else one number for all.
void read_scaling(PublishedConfig& config, LatentSpec& latent) {
  const double factor = config.number("scaling_factor", 0.18215, 1e-12, 1e12);
  latent.shift = {config.is_null("shift_factor") ? 0.0 : config.number("shift_factor", 0.0, -1e12, 1e12)};
  config.accept("shift_factor");
  latent.scale = {factor};
  const std::vector<double> mean = config.numbers("latents_mean"), deviation = config.numbers("latents_std");
  if (mean.empty() && deviation.empty()) return;
  const auto channels = static_cast<std::size_t>(latent.channels);
  if (mean.size() != channels || deviation.size() != channels)
    config.fail("latents_mean", concat("expected ", channels, " numbers here and in latents_std, got ", mean.size(),
                                       " and ", deviation.size(), "."));
  latent.shift = mean;
  latent.scale.clear();
  for (const double one : deviation) {
    if (!(one > 0.0)) config.fail("latents_std", "must be positive.");
    latent.scale.push_back(factor / one);
  }
}

KlOptions read_options(PublishedConfig& config) {
  KlOptions options{};
  // The network is convolutional; in float32 there is nothing to cast up.
  for (const char* key : {"sample_size", "force_upcast"}) config.accept(key);
  options.latent.data_channels = config.integer("in_channels", 3, 1, kMaxPublishedChannels);
  options.out_channels = config.integer("out_channels", 3, 1, kMaxPublishedChannels);
  options.latent.channels = config.integer("latent_channels", 4, 1, kMaxPublishedChannels);
  options.widths = config.integers("block_out_channels", {64}, 1, kMaxPublishedChannels);
  const std::size_t levels = options.widths.size();
  if (levels < 1 || levels > kMaxPublishedLevels)
    config.fail("block_out_channels", concat("expected 1 to ", kMaxPublishedLevels, " levels, got ", levels, "."));
  expect_blocks(config, "down_block_types", "DownEncoderBlock2D", levels);
  expect_blocks(config, "up_block_types", "UpDecoderBlock2D", levels);
  options.latent.factors.assign(2, std::int64_t{1} << (levels - 1));
  options.layers = config.integer("layers_per_block", 1, 1, 64);
  options.groups = config.integer("norm_num_groups", 32, 1, kMaxPublishedChannels);
  options.activation = activation_from_name(config.choice("act_fn", "silu", activation_names()));
  read_scaling(config, options.latent);
  options.has_encoder_mix = config.boolean("use_quant_conv", true);
  options.has_decoder_mix = config.boolean("use_post_quant_conv", true);
  options.has_attention = config.boolean("mid_block_add_attention", true);
  config.refuse_unread();
  return options;
}

/// One way, encoder or decoder: resnets and resampling a level, two resnets with attention where it is coarsest.
class Half {
 public:
  Half() = default;
  Half(PublishedWeights& weights, const KlOptions& options, bool encodes)
      : encodes_(encodes), name_(encodes ? "encoder." : "decoder.") {
    const std::vector<std::int64_t>& widths = options.widths;
    const std::size_t levels = widths.size();
    const std::int64_t first = encodes ? widths.front() : widths.back(), end = encodes ? widths.back() : widths.front();
    in_ = weights.conv(name_ + "conv_in", encodes ? options.latent.data_channels : options.latent.channels, first, 3, 1,
                       1);
    if (!encodes) make_middle(weights, options);
    for (std::size_t i = 0; i < levels; ++i) {
      const auto width = [&](std::size_t index) { return widths[encodes ? index : levels - 1 - index]; };
      make_level(weights, options, i, width(i == 0 ? 0 : i - 1), width(i));
    }
    if (encodes) make_middle(weights, options);
    norm_ = weights.group_norm(name_ + "conv_norm_out", end, options.groups, kEpsilon);
    out_ = weights.conv(name_ + "conv_out", end, encodes ? 2 * options.latent.channels : options.out_channels, 3, 1, 1);
  }

  /// positions > 0: in bands of about so many.
  at::Tensor operator()(const at::Tensor& x_NCHW, std::int64_t positions) const {
    if (positions > 0 && !c10::GradMode::is_enabled()) return in_bands(x_NCHW, positions);
    at::Tensor h = in_(x_NCHW);
    if (!encodes_) h = middle(h);
    for (const Level& level : levels_) {
      for (const Resnet& resnet : level.resnets) h = resnet(h, {});
      if (!level.resample) continue;
      h = encodes_ ? downsample(*level.resample, h)
                   : (*level.resample)(at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)}));
    }
    if (encodes_) h = middle(h);
    return out_(at::silu(norm_(h)));
  }

 private:
  struct Level {
    std::vector<Resnet> resnets;
    std::optional<nn::Conv2d> resample;
  };

  void make_middle(PublishedWeights& weights, const KlOptions& options) {
    const std::int64_t width = options.widths.back();
    middle_.emplace_back(weights, name_ + "mid_block.resnets.0", options.resnet(), width, width);
    if (options.has_attention)
      attention_.emplace(weights, name_ + "mid_block.attentions.0",
                         SpatialAttentionOptions{std::nullopt, kEpsilon, 1.0}, width, options.groups);
    middle_.emplace_back(weights, name_ + "mid_block.resnets.1", options.resnet(), width, width);
  }

  void make_level(PublishedWeights& weights, const KlOptions& options, std::size_t index, std::int64_t in,
                  std::int64_t out) {
    const std::string name = concat(name_, encodes_ ? "down_blocks." : "up_blocks.", index, ".");
    Level& level = levels_.emplace_back();
    for (std::int64_t i = 0; i < options.layers + (encodes_ ? 0 : 1); ++i)
      level.resnets.emplace_back(weights, concat(name, "resnets.", i), options.resnet(), i == 0 ? in : out, out);
    if (index + 1 == options.widths.size()) return;
    level.resample = encodes_ ? weights.conv(name + "downsamplers.0.conv", out, out, 3, 2, 0)
                              : weights.conv(name + "upsamplers.0.conv", out, out, 3, 1, 1);
  }

  at::Tensor in_bands(const at::Tensor& x_NCHW, std::int64_t positions) const {
    at::Tensor first = computed(convolved(in_, rows_of(x_NCHW)), positions);
    RowSource h = rows_of(encodes_ ? std::exchange(first, {}) : middle(std::exchange(first, {})));
    for (const Level& level : levels_) {
      for (const Resnet& resnet : level.resnets) h = rows_of(banded(resnet, h, positions));
      if (!level.resample) continue;
      // On the way up the largest map of a level is the input of its first resnet: computed as it is read.
      h = encodes_ ? rows_of(computed(convolved(*level.resample, std::move(h), true), positions))
                   : convolved(*level.resample, doubled(std::move(h)));
    }
    if (encodes_) h = rows_of(middle(h.rows(0, h.height)));
    const RowSource active = mapped(normalised(norm_, h, positions), [](const at::Tensor& y) { return at::silu(y); });
    return computed(convolved(out_, active), positions);
  }

  at::Tensor middle(const at::Tensor& x_NCHW) const {
    const at::Tensor h = middle_[0](x_NCHW, {});
    return middle_[1](attention_ ? (*attention_)(h) : h, {});
  }

  bool encodes_ = true;
  std::string name_;
  nn::Conv2d in_, out_;
  nn::GroupNorm norm_;
  std::vector<Level> levels_;
  std::vector<Resnet> middle_;
  std::optional<SpatialAttention> attention_;
};

class AutoencoderKl : public Autoencoder {
 public:
  AutoencoderKl(KlOptions options, PublishedSource source) : options_(std::move(options)), parameters_(0) {
    rename_old_attention(source.tensors);
    PublishedWeights weights(std::move(source), parameters_);
    const std::int64_t channels = options_.latent.channels;
    encoder_ = Half(weights, options_, true);
    decoder_ = Half(weights, options_, false);
    if (options_.has_encoder_mix) encoder_mix_ = weights.conv("quant_conv", 2 * channels, 2 * channels, 1);
    if (options_.has_decoder_mix) decoder_mix_ = weights.conv("post_quant_conv", channels, channels, 1);
    weights.refuse_left_over();
  }

  LatentSpec latent() const override { return options_.latent; }
  const Parameters& parameters() const override { return parameters_; }

  Posterior encode(const at::Tensor& x) const override {
    expect_autoencoder_input(x, options_.latent.data_channels, options_.latent.factors[0]);
    at::Tensor moments = encoder_(x, band_positions_);
    if (encoder_mix_) moments = (*encoder_mix_)(moments);
    const auto halves = moments.chunk(2, 1);
    return {halves[0], halves[1].clamp(kMinLogVariance, kMaxLogVariance)};
  }

  at::Tensor decode(const at::Tensor& z) const override {
    expect_autoencoder_input(z, options_.latent.channels, 1);
    return decoder_(decoder_mix_ ? (*decoder_mix_)(z) : z, band_positions_);
  }

  bool work_in_bands(std::int64_t positions) override {
    band_positions_ = positions;
    return true;
  }

 private:
  KlOptions options_;
  Parameters parameters_;
  Half encoder_, decoder_;
  std::optional<nn::Conv2d> encoder_mix_, decoder_mix_;
  std::int64_t band_positions_ = 0;
};

}  // namespace

void expect_autoencoder_input(const at::Tensor& x, std::int64_t channels, std::int64_t factor) {
  if (x.dim() != 4 || x.size(0) < 1 || x.size(1) != channels || x.size(2) < 1 || x.size(3) < 1 ||
      x.size(2) % factor != 0 || x.size(3) % factor != 0)
    throw DataError(concat("autoencoder input: expected [N, ", channels, ", H, W] with sides that are multiples of ",
                           factor, ", got ", x.sizes(), "."));
}

std::unique_ptr<Autoencoder> make_published_autoencoder_kl(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<AutoencoderKl>(read_options(config), std::move(source));
}

}  // namespace thaw::image
