#include "modalities/images/published_unet_parts.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/streaming.h"

namespace thaw::image {

namespace {

constexpr std::int64_t kMax = kMaxPublishedChannels;
constexpr std::int64_t kMaxLayers = 64;

std::vector<bool> read_attending(PublishedConfig& config, const std::string& key,
                                 const std::vector<std::string>& fallback, const std::string& plain,
                                 const std::string& attending, std::size_t levels) {
  const std::vector<std::string> types = config.texts(key, fallback);
  std::vector<bool> attends;
  for (const std::string& type : types) {
    if (type != plain && type != attending)
      config.fail(key, concat("unknown block \"", type, "\". Known: ", plain, ", ", attending, "."));
    attends.push_back(type == attending);
  }
  if (attends.size() != levels)
    config.fail(key,
                concat("expected ", levels, " blocks, one a level of block_out_channels, got ", attends.size(), "."));
  return attends;
}

void read_embeddings(PublishedConfig& config, ConditionUNetOptions& options) {
  options.time = {options.widths[0], 10000.0, config.boolean("flip_sin_to_cos", true),
                  config.number("freq_shift", 0.0, -1e6, 1e6)};
  if (static_cast<double>(options.time.features / 2) == options.time.frequency_shift)
    config.fail("freq_shift",
                concat("divides by zero: half of block_out_channels[0] is ", options.time.features / 2, "."));
  options.class_type =
      config.choice("class_embed_type", "null", {"null", "timestep", "identity", "projection", "simple_projection"});
  options.num_classes = config.integer_or_null("num_class_embeds", std::nullopt, 1, 1 << 24).value_or(0);
  if (options.class_type != "null") options.num_classes = 0;
  const std::int64_t projected =
      config.integer_or_null("projection_class_embeddings_input_dim", std::nullopt, 1, kMax).value_or(0);
  options.size_features = config.integer_or_null("addition_time_embed_dim", std::nullopt, 1, kMax).value_or(0);
  options.has_text_time = config.choice("addition_embed_type", "null", {"null", "text_time"}) == "text_time";
  if (options.has_text_time && (projected == 0 || options.size_features == 0))
    config.fail("addition_embed_type",
                "text_time needs projection_class_embeddings_input_dim and addition_time_embed_dim.");
  if (options.class_type.ends_with("projection") && projected == 0)
    config.fail("class_embed_type", "a projection needs projection_class_embeddings_input_dim.");
  options.class_features = options.pooled_and_size_features = projected;
  options.text_projection = config.integer_or_null("encoder_hid_dim", std::nullopt, 1, kMax).value_or(0);
  const std::string kind = config.choice("encoder_hid_dim_type", "null", {"null", "text_proj"});
  if (kind != "null" && options.text_projection == 0)
    config.fail("encoder_hid_dim_type", "text_proj needs encoder_hid_dim.");
}

/// transformer_layers_per_block: a number, one a level, or a list of them a level.
std::vector<std::vector<std::int64_t>> read_depths(PublishedConfig& config, const std::string& key,
                                                   std::size_t levels) {
  std::vector<std::vector<std::int64_t>> depths = config.integer_lists(key, 1, 0, kMaxLayers);
  if (depths.size() == 1 && !config.is_list(key)) depths.resize(levels, depths.front());
  if (depths.size() != levels)
    config.fail(key, concat("expected one entry or ", levels, ", one a level, got ", depths.size(), "."));
  return depths;
}

void read_attention(PublishedConfig& config, ConditionUNetOptions& options) {
  const std::size_t levels = options.widths.size();
  // The peer takes attention_head_dim for the number of heads, and keeps doing so for the checkpoints that rely on it.
  config.choice("num_attention_heads", "null", {"null"});
  options.heads = config.integers_each("attention_head_dim", 8, levels, 1, kMax);
  options.text_features = config.integers_each("cross_attention_dim", 1280, levels, 1, kMax);
  options.depths_down = read_depths(config, "transformer_layers_per_block", levels);
  options.depths_up.assign(options.depths_down.rbegin(), options.depths_down.rend());
  options.attends_to_text_only = config.booleans_each("only_cross_attention", false, levels);
  options.has_linear_projection = config.boolean("use_linear_projection", false);
  options.is_upcast = config.boolean("upcast_attention", false);
}

}  // namespace

Activation activation_or_null(PublishedConfig& config, const std::string& key) {
  std::vector<std::string> allowed = activation_names();
  allowed.push_back("null");
  const std::string name = config.choice(key, "null", allowed);
  return name == "null" ? nullptr : activation_from_name(name);
}

std::int64_t depth_of(const std::vector<std::int64_t>& depths, std::int64_t layer) {
  return depths.size() == 1 ? depths.front() : depths.at(static_cast<std::size_t>(layer));
}

ConditionUNetOptions read_condition_unet(PublishedConfig& config) {
  ConditionUNetOptions options{};
  options.in_channels = config.integer("in_channels", 4, 1, kMax);
  options.widths = config.integers("block_out_channels", {320, 640, 1280, 1280}, 1, kMax);
  const std::size_t levels = options.widths.size();
  if (levels < 1 || levels > kMaxPublishedLevels)
    config.fail("block_out_channels", concat("expected 1 to ", kMaxPublishedLevels, " levels, got ", levels, "."));
  options.attends_down =
      read_attending(config, "down_block_types",
                     {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"},
                     "DownBlock2D", "CrossAttnDownBlock2D", levels);
  const std::string middle =
      config.choice("mid_block_type", "UNetMidBlock2DCrossAttn", {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D", "null"});
  using Middle = ConditionUNetOptions::Middle;
  options.middle = middle == "null" ? Middle::kNone : middle == "UNetMidBlock2D" ? Middle::kResnet : Middle::kAttending;
  options.layers = config.integers_each("layers_per_block", 2, levels, 1, kMaxLayers);
  options.embedding = 4 * options.widths[0];
  read_embeddings(config, options);
  read_attention(config, options);
  options.downsample_padding = config.integer("downsample_padding", 1, 0, 1);
  options.middle_scale = config.number("mid_block_scale_factor", 1.0, 1e-30, 1e30);
  options.activation = activation_from_name(config.choice("act_fn", "silu", activation_names()));
  options.groups = config.integer("norm_num_groups", 32, 1, kMax);
  options.epsilon = config.number("norm_eps", 1e-5, 0.0, 1.0);
  options.scales_and_shifts =
      config.choice("resnet_time_scale_shift", "default", {"default", "scale_shift"}) == "scale_shift";
  for (std::size_t i = 0; i < levels; ++i)
    if (options.depths_down[i].size() > 1 &&
        options.depths_down[i].size() != static_cast<std::size_t>(options.layers[i]))
      config.fail("transformer_layers_per_block", concat("expected ", options.layers[i], " numbers on level ", i,
                                                         ", got ", options.depths_down[i].size(), "."));
  return options;
}

void read_condition_unet_up(PublishedConfig& config, ConditionUNetOptions& options) {
  const std::size_t levels = options.widths.size();
  options.attends_up = read_attending(config, "up_block_types",
                                      {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"},
                                      "UpBlock2D", "CrossAttnUpBlock2D", levels);
  const std::string key = "reverse_transformer_layers_per_block";
  if (config.is_list(key))
    options.depths_up = read_depths(config, key, levels);
  else
    config.choice(key, "null", {"null"});
  for (std::size_t i = 0; i < levels; ++i) {
    const auto wanted = static_cast<std::size_t>(options.layers[levels - 1 - i] + 1);
    if (options.depths_up[i].size() > 1 && options.depths_up[i].size() != wanted)
      config.fail(config.is_list(key) ? key : "transformer_layers_per_block",
                  concat("expected ", wanted, " numbers on level ", i, " of the way up, got ",
                         options.depths_up[i].size(), "."));
  }
}

UNetEmbeddings::UNetEmbeddings(PublishedWeights& weights, const ConditionUNetOptions& options) : options_(options) {
  const std::int64_t embedding = options.embedding;
  time_ = PublishedTimeEmbedding(weights, "time_embedding", options.time.features, embedding);
  time_.activation = options.activation;
  if (options.time_condition > 0)
    time_condition_ = weights.linear("time_embedding.cond_proj", options.time_condition, options.time.features, false);
  if (options.num_classes > 0) class_table_ = weights.embedding("class_embedding", options.num_classes, embedding);
  if (options.class_type == "timestep" || options.class_type == "projection")
    class_mlp_ = PublishedTimeEmbedding(
        weights, "class_embedding", options.class_type == "timestep" ? options.time.features : options.class_features,
        embedding);
  if (options.class_type == "timestep") class_mlp_.activation = options.class_activation;
  if (options.class_type == "simple_projection")
    class_linear_ = weights.linear("class_embedding", options.class_features, embedding);
  if (options.has_text_time)
    sizes_ = PublishedTimeEmbedding(weights, "add_embedding", options.pooled_and_size_features, embedding);
}

at::Tensor UNetEmbeddings::classes(const at::Tensor& noise_N, const Condition& condition) const {
  const std::int64_t n = noise_N.size(0);
  if (options_.class_type == "null") {
    const at::Tensor label_N = published_labels(condition, n, options_.num_classes);
    return label_N.defined() ? class_table_(label_N) : at::Tensor();
  }
  if (options_.class_type == "timestep")
    return class_mlp_(published_timesteps(published_condition(condition, "label", {n}), options_.time));
  if (options_.class_type == "identity") return published_condition(condition, "label", {n, options_.embedding});
  const at::Tensor features = published_condition(condition, "label", {n, options_.class_features});
  return options_.class_type == "projection" ? class_mlp_(features) : class_linear_(features);
}

at::Tensor UNetEmbeddings::sizes(const at::Tensor& noise_N, const Condition& condition) const {
  const std::int64_t n = noise_N.size(0);
  const at::Tensor pooled = published_condition(condition, "pooled", {n, -1});
  const at::Tensor ids = published_condition(condition, "time_ids", {n, -1});
  nn::Sinusoid sinusoid = options_.time;
  sinusoid.features = options_.size_features;
  const at::Tensor embedded = published_timesteps(ids.flatten(), sinusoid).reshape({n, -1});
  const std::int64_t total = pooled.size(1) + embedded.size(1);
  if (total != options_.pooled_and_size_features)
    throw DataError(concat("network conditions \"pooled\" and \"time_ids\": ", pooled.size(1), " features and ",
                           ids.size(1), " sizes of ", options_.size_features, " make ", total, ", expected ",
                           options_.pooled_and_size_features, "."));
  return sizes_(at::cat({pooled.to(embedded.scalar_type()), embedded}, 1));
}

at::Tensor UNetEmbeddings::operator()(const at::Tensor& noise_N, const Condition& condition) const {
  const std::int64_t n = noise_N.size(0);
  at::Tensor t_ND = published_timesteps(noise_N, options_.time);
  if (options_.time_condition > 0) {
    const at::Tensor features = published_condition(condition, "time_features", {n, options_.time_condition}, false);
    if (features.defined()) t_ND = t_ND.to(nn::type_here(time_condition_.weight)) + time_condition_(features);
  }
  at::Tensor embedding_ND = time_(t_ND);
  if (options_.time_out != nullptr) embedding_ND = options_.time_out(embedding_ND);
  const at::Tensor class_ND = classes(noise_N, condition);
  if (class_ND.defined()) embedding_ND = embedding_ND + class_ND;
  if (options_.has_text_time) embedding_ND = embedding_ND + sizes(noise_N, condition);
  return options_.embedding_out != nullptr ? options_.embedding_out(embedding_ND) : embedding_ND;
}

UNetEncoder::UNetEncoder(PublishedWeights& weights, const ConditionUNetOptions& options) {
  for (std::size_t level = 0; level < options.widths.size(); ++level) {
    const std::string name = concat("down_blocks.", level, ".");
    const std::int64_t in = options.widths[level == 0 ? 0 : level - 1], out = options.widths[level];
    UNetLevel& made = levels_.emplace_back();
    for (std::int64_t i = 0; i < options.layers[level]; ++i) {
      made.resnets.emplace_back(weights, concat(name, "resnets.", i), options.resnet(), i == 0 ? in : out, out);
      if (!options.attends_down[level]) continue;
      SpatialTransformerOptions transformer = options.transformer(level, depth_of(options.depths_down[level], i));
      transformer.attends_to_text_only = options.attends_to_text_only[level];
      made.transformers.emplace_back(weights, concat(name, "attentions.", i), transformer);
    }
    if (level + 1 < options.widths.size())
      made.resample = weights.conv(name + "downsamplers.0.conv", out, out, 3, 2, options.downsample_padding);
  }
  if (options.middle == ConditionUNetOptions::Middle::kNone) return;
  const std::size_t last = options.widths.size() - 1;
  const std::int64_t width = options.widths[last];
  const ResnetOptions resnet = options.resnet(options.middle_scale);
  middle_.resnets.emplace_back(weights, "mid_block.resnets.0", resnet, width, width);
  if (options.middle != ConditionUNetOptions::Middle::kAttending) return;
  middle_.transformers.emplace_back(weights, "mid_block.attentions.0",
                                    options.transformer(last, depth_of(options.depths_down[last], 0)));
  middle_.resnets.emplace_back(weights, "mid_block.resnets.1", resnet, width, width);
}

at::Tensor UNetEncoder::down(at::Tensor h, const at::Tensor& embedding_ND, const AttentionContext& context,
                             std::vector<at::Tensor>& skips) const {
  for (const UNetLevel& level : levels_) {
    for (std::size_t i = 0; i < level.resnets.size(); ++i) {
      h = level.resnets[i](h, embedding_ND);
      if (!level.transformers.empty()) h = level.transformers[i](h, context);
      skips.push_back(h);
    }
    if (level.resample) skips.push_back(h = downsample(*level.resample, h));
  }
  return h;
}

at::Tensor UNetEncoder::middle(at::Tensor h, const at::Tensor& embedding_ND, const AttentionContext& context) const {
  if (middle_.resnets.empty()) return h;
  h = middle_.resnets[0](h, embedding_ND);
  if (middle_.transformers.empty()) return h;
  return middle_.resnets[1](middle_.transformers[0](h, context), embedding_ND);
}

AttentionContext text_context(const Condition& condition, std::int64_t batch, std::int64_t features,
                              const nn::Linear& projection) {
  AttentionContext context;
  context.text_NTD = published_condition(condition, "text", {batch, -1, features});
  const at::Tensor mask = published_condition(condition, "text_mask", {batch, context.text_NTD.size(1)}, false);
  context.text_bias = attention_bias(mask, context.text_NTD.scalar_type());
  if (projection.weight.defined()) context.text_NTD = projection(context.text_NTD);
  return context;
}

}  // namespace thaw::image
