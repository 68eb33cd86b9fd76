// UNet2DModel of diffusers. Ho et al. 2020 and its followers.
// N batch, C channels, H height, W width, L tokens, D features

#include <optional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/images/published_blocks.h"
#include "modalities/images/published_parts.h"

namespace thaw::image {

namespace {

struct UNetOptions {
  std::int64_t in_channels, out_channels;
  bool is_centred;
  nn::Sinusoid time;
  std::int64_t embedding;
  std::vector<std::string> down_types, up_types;
  std::vector<std::int64_t> widths;
  bool has_middle, has_middle_attention;
  std::int64_t layers;
  double middle_scale;
  std::int64_t downsample_padding;
  bool downsamples_in_resnet, upsamples_in_resnet;  // of the blocks with attention only, as there
  Activation activation;
  std::optional<std::int64_t> head_width;  // one head where absent
  std::int64_t groups;
  std::optional<std::int64_t> middle_groups;  // none: the middle attention has no norm
  double epsilon;
  bool scales_and_shifts;
  std::int64_t num_classes;

  ResnetOptions resnet(double out_scale = 1.0) const {
    return {embedding, groups, epsilon, activation, scales_and_shifts, out_scale};
  }
  SpatialAttentionOptions attention(double out_scale = 1.0) const { return {head_width, epsilon, out_scale}; }
};

// UNetResDownBlock2D is an old name of DownBlock2D.
std::vector<std::string> read_block_types(PublishedConfig& config, const std::string& key,
                                          const std::vector<std::string>& fallback, const std::string& plain,
                                          const std::string& attending) {
  std::vector<std::string> types = config.texts(key, fallback);
  for (std::string& type : types) {
    if (type.starts_with("UNetRes")) type = type.substr(7);
    if (type != plain && type != attending)
      config.fail(key, concat("unknown block \"", type, "\". Known: ", plain, ", ", attending, "."));
  }
  return types;
}

void read_levels(PublishedConfig& config, UNetOptions& options) {
  options.widths = config.integers("block_out_channels", {224, 448, 672, 896}, 1, kMaxPublishedChannels);
  options.down_types = read_block_types(config, "down_block_types",
                                        {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"},
                                        "DownBlock2D", "AttnDownBlock2D");
  options.up_types =
      read_block_types(config, "up_block_types", {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"},
                       "UpBlock2D", "AttnUpBlock2D");
  const std::size_t levels = options.widths.size();
  if (levels < 1 || levels > kMaxPublishedLevels)
    config.fail("block_out_channels", concat("expected 1 to ", kMaxPublishedLevels, " levels, got ", levels, "."));
  if (options.down_types.size() != levels)
    config.fail("down_block_types", concat("expected ", levels, " blocks, one a level of block_out_channels, got ",
                                           options.down_types.size(), "."));
  if (options.up_types.size() != levels)
    config.fail("up_block_types", concat("expected ", levels, " blocks, one a level of block_out_channels, got ",
                                         options.up_types.size(), "."));
}

void read_embeddings(PublishedConfig& config, UNetOptions& options) {
  config.choice("time_embedding_type", "positional", {"positional"});
  options.time = {options.widths[0], 10000.0, config.boolean("flip_sin_to_cos", true),
                  config.number("freq_shift", 0.0, -1e6, 1e6)};
  if (static_cast<double>(options.time.features / 2) == options.time.frequency_shift)
    config.fail("freq_shift",
                concat("divides by zero: half of block_out_channels[0] is ", options.time.features / 2, "."));
  const std::int64_t given =
      config.integer_or_null("time_embedding_dim", std::nullopt, 0, kMaxPublishedChannels).value_or(0);
  options.embedding = given > 0 ? given : 4 * options.widths[0];
  config.choice("class_embed_type", "null", {"null"});
  options.num_classes = config.integer_or_null("num_class_embeds", std::nullopt, 1, 1 << 24).value_or(0);
}

UNetOptions read_unet_options(PublishedConfig& config) {
  UNetOptions options{};
  // The network is convolutional: its size, and what only training or a learned time embedding uses, change nothing.
  for (const char* key : {"sample_size", "dropout", "num_train_timesteps"}) config.accept(key);
  options.in_channels = config.integer("in_channels", 3, 1, kMaxPublishedChannels);
  options.out_channels = config.integer("out_channels", 3, 1, kMaxPublishedChannels);
  options.is_centred = config.boolean("center_input_sample", false);
  read_levels(config, options);
  read_embeddings(config, options);
  options.layers = config.integer("layers_per_block", 2, 1, 64);
  options.has_middle = config.choice("mid_block_type", "UNetMidBlock2D", {"UNetMidBlock2D", "null"}) != "null";
  options.has_middle_attention = config.boolean("add_attention", true);
  options.middle_scale = config.number("mid_block_scale_factor", 1.0, 1e-30, 1e30);
  options.downsample_padding = config.integer("downsample_padding", 1, 0, 1);
  options.downsamples_in_resnet = config.choice("downsample_type", "conv", {"conv", "resnet", "null"}) == "resnet";
  options.upsamples_in_resnet = config.choice("upsample_type", "conv", {"conv", "resnet", "null"}) == "resnet";
  options.activation = activation_from_name(config.choice("act_fn", "silu", activation_names()));
  options.head_width = config.integer_or_null("attention_head_dim", 8, 1, kMaxPublishedChannels);
  options.groups = config.integer("norm_num_groups", 32, 1, kMaxPublishedChannels);
  options.epsilon = config.number("norm_eps", 1e-5, 0.0, 1.0);
  options.scales_and_shifts =
      config.choice("resnet_time_scale_shift", "default", {"default", "scale_shift"}) == "scale_shift";
  options.middle_groups = config.integer_or_null("attn_norm_num_groups", std::nullopt, 1, kMaxPublishedChannels);
  if (!options.middle_groups && !options.scales_and_shifts) options.middle_groups = options.groups;
  config.refuse_unread();
  return options;
}

struct Level {
  std::vector<Resnet> resnets;
  std::vector<SpatialAttention> attentions;  // one a resnet, or none
  std::optional<nn::Conv2d> resample_conv;
  std::optional<Resnet> resample_resnet;
};

Level make_down_level(PublishedWeights& weights, const UNetOptions& options, std::size_t index) {
  const std::string name = concat("down_blocks.", index, ".");
  const std::int64_t in = options.widths[index == 0 ? 0 : index - 1], out = options.widths[index];
  const bool attends = options.down_types[index] == "AttnDownBlock2D";
  Level level;
  for (std::int64_t i = 0; i < options.layers; ++i) {
    level.resnets.emplace_back(weights, concat(name, "resnets.", i), options.resnet(), i == 0 ? in : out, out);
    if (attends)
      level.attentions.emplace_back(weights, concat(name, "attentions.", i), options.attention(), out, options.groups);
  }
  if (index + 1 == options.widths.size()) return level;
  if (attends && options.downsamples_in_resnet)
    level.resample_resnet.emplace(weights, name + "downsamplers.0", options.resnet(), out, out, Resnet::Size::kHalf);
  else
    level.resample_conv = weights.conv(name + "downsamplers.0.conv", out, out, 3, 2, options.downsample_padding);
  return level;
}

Level make_up_level(PublishedWeights& weights, const UNetOptions& options, std::size_t index) {
  const std::string name = concat("up_blocks.", index, ".");
  const std::size_t last = options.widths.size() - 1;
  const std::int64_t out = options.widths[last - index];
  const std::int64_t before = index == 0 ? out : options.widths[last - index + 1];
  const std::int64_t next = options.widths[index == last ? 0 : last - index - 1];
  const bool attends = options.up_types[index] == "AttnUpBlock2D";
  Level level;
  for (std::int64_t i = 0; i <= options.layers; ++i) {
    const std::int64_t skip = i == options.layers ? next : out;
    level.resnets.emplace_back(weights, concat(name, "resnets.", i), options.resnet(), (i == 0 ? before : out) + skip,
                               out);
    if (attends)
      level.attentions.emplace_back(weights, concat(name, "attentions.", i), options.attention(), out, options.groups);
  }
  if (index == last) return level;
  if (attends && options.upsamples_in_resnet)
    level.resample_resnet.emplace(weights, name + "upsamplers.0", options.resnet(), out, out, Resnet::Size::kDouble);
  else
    level.resample_conv = weights.conv(name + "upsamplers.0.conv", out, out, 3, 1, 1);
  return level;
}

class PublishedUNet2d : public Backbone {
 public:
  PublishedUNet2d(UNetOptions options, PublishedSource source) : options_(std::move(options)), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    in_ = weights.conv("conv_in", options_.in_channels, options_.widths[0], 3, 1, 1);
    time_ = PublishedTimeEmbedding(weights, "time_embedding", options_.time.features, options_.embedding);
    if (options_.num_classes > 0)
      classes_ = weights.embedding("class_embedding", options_.num_classes, options_.embedding);
    for (std::size_t i = 0; i < options_.widths.size(); ++i) down_.push_back(make_down_level(weights, options_, i));
    if (options_.has_middle) make_middle(weights);
    for (std::size_t i = 0; i < options_.widths.size(); ++i) up_.push_back(make_up_level(weights, options_, i));
    out_norm_ = weights.group_norm("conv_norm_out", options_.widths[0], options_.groups, options_.epsilon);
    out_ = weights.conv("conv_out", options_.widths[0], options_.out_channels, 3, 1, 1);
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    expect_input(x, noise);
    at::Tensor embedding_ND = time_(published_timesteps(noise, options_.time));
    const at::Tensor label_N = published_labels(condition, x.size(0), options_.num_classes);
    if (label_N.defined()) embedding_ND = embedding_ND + classes_(label_N);
    at::Tensor h = in_(options_.is_centred ? 2 * x - 1.0 : x);
    std::vector<at::Tensor> skips{h};
    for (const Level& level : down_) h = go_down(level, h, embedding_ND, skips);
    if (options_.has_middle) {
      h = middle_.resnets[0](h, embedding_ND);
      if (!middle_.attentions.empty()) h = middle_.attentions[0](h);
      h = middle_.resnets[1](h, embedding_ND);
    }
    for (const Level& level : up_) h = go_up(level, h, embedding_ND, skips);
    return out_(at::silu(out_norm_(h)));
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  void make_middle(PublishedWeights& weights) {
    const std::int64_t width = options_.widths.back();
    const double scale = options_.middle_scale;
    for (const char* name : {"mid_block.resnets.0", "mid_block.resnets.1"})
      middle_.resnets.emplace_back(weights, name, options_.resnet(scale), width, width);
    if (options_.has_middle_attention)
      middle_.attentions.emplace_back(weights, "mid_block.attentions.0", options_.attention(scale), width,
                                      options_.middle_groups);
  }

  void expect_input(const at::Tensor& x, const at::Tensor& noise) const {
    expect_forward_input(x, noise, options_.in_channels);
    const std::int64_t tile = std::int64_t{1} << (options_.widths.size() - 1);
    if (x.size(2) < 1 || x.size(3) < 1 || x.size(2) % tile != 0 || x.size(3) % tile != 0)
      throw DataError(concat("network input: height and width must be multiples of ", tile, ", got ", x.size(2), " x ",
                             x.size(3), "."));
  }

  at::Tensor go_down(const Level& level, at::Tensor h, const at::Tensor& embedding_ND,
                     std::vector<at::Tensor>& skips) const {
    for (std::size_t i = 0; i < level.resnets.size(); ++i) {
      h = level.resnets[i](h, embedding_ND);
      if (!level.attentions.empty()) h = level.attentions[i](h);
      skips.push_back(h);
    }
    if (!level.resample_conv && !level.resample_resnet) return h;
    if (level.resample_resnet)
      h = (*level.resample_resnet)(h, embedding_ND);
    else
      h = downsample(*level.resample_conv, h);
    skips.push_back(h);
    return h;
  }

  static at::Tensor go_up(const Level& level, at::Tensor h, const at::Tensor& embedding_ND,
                          std::vector<at::Tensor>& skips) {
    for (std::size_t i = 0; i < level.resnets.size(); ++i) {
      h = level.resnets[i](at::cat({h, skips.back()}, 1), embedding_ND);
      skips.pop_back();
      if (!level.attentions.empty()) h = level.attentions[i](h);
    }
    if (level.resample_resnet) return (*level.resample_resnet)(h, embedding_ND);
    if (level.resample_conv) return (*level.resample_conv)(at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)}));
    return h;
  }

  UNetOptions options_;
  Parameters parameters_;
  nn::Conv2d in_, out_;
  PublishedTimeEmbedding time_;
  nn::Embedding classes_;
  std::vector<Level> down_, up_;
  Level middle_;
  nn::GroupNorm out_norm_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_unet2d(PublishedConfig& config, PublishedSource source) {
  rename_old_attention(source.tensors);
  return std::make_unique<PublishedUNet2d>(read_unet_options(config), std::move(source));
}

}  // namespace thaw::image
