// UNet2DConditionModel of diffusers: Stable Diffusion 1, 2 and XL. Rombach et al. 2022; Podell et al. 2023.
// N batch, C channels, H height, W width, L tokens, D features

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/images/published_unet_parts.h"

namespace thaw::image {

namespace {

ConditionUNetOptions read_options(PublishedConfig& config) {
  // The network is convolutional; dropout is for training.
  for (const char* key : {"sample_size", "dropout", "addition_embed_type_num_heads"}) config.accept(key);
  ConditionUNetOptions options = read_condition_unet(config);
  read_condition_unet_up(config, options);
  options.out_channels = config.integer("out_channels", 4, 1, kMaxPublishedChannels);
  options.is_centred = config.boolean("center_input_sample", false);
  config.choice("time_embedding_type", "positional", {"positional"});
  options.embedding =
      config.integer_or_null("time_embedding_dim", std::nullopt, 1, kMaxPublishedChannels).value_or(options.embedding);
  options.time_condition =
      config.integer_or_null("time_cond_proj_dim", std::nullopt, 1, kMaxPublishedChannels).value_or(0);
  options.time_out = activation_or_null(config, "timestep_post_act");
  options.embedding_out = activation_or_null(config, "time_embedding_act_fn");
  options.class_activation = options.activation;
  for (const char* key : {"conv_in_kernel", "conv_out_kernel"}) {
    std::int64_t& kernel = std::string(key) == "conv_in_kernel" ? options.in_kernel : options.out_kernel;
    kernel = config.integer(key, 3, 1, 31);
    if (kernel % 2 == 0) config.fail(key, concat("must be odd to keep the size, got ", kernel, "."));
  }
  // Kinds that no published text-to-image network of these classes uses.
  for (const char* key : {"dual_cross_attention", "class_embeddings_concat", "resnet_skip_time_act"})
    if (config.boolean(key, false)) config.fail(key, "only false is read.");
  if (config.number("resnet_out_scale_factor", 1.0, -1e30, 1e30) != 1.0)
    config.fail("resnet_out_scale_factor", "only 1 is read.");
  config.choice("attention_type", "default", {"default"});
  config.choice("cross_attention_norm", "null", {"null"});
  config.choice("mid_block_only_cross_attention", "null", {"null"});
  config.refuse_unread();
  return options;
}

class PublishedConditionUNet : public Backbone {
 public:
  PublishedConditionUNet(ConditionUNetOptions options, PublishedSource source)
      : options_(std::move(options)), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const std::int64_t width = options_.widths[0];
    in_ = weights.conv("conv_in", options_.in_channels, width, options_.in_kernel, 1, options_.in_kernel / 2);
    embeddings_ = UNetEmbeddings(weights, options_);
    if (options_.text_projection > 0)
      text_ = weights.linear("encoder_hid_proj", options_.text_projection, options_.text_features[0]);
    encoder_ = UNetEncoder(weights, options_);
    for (std::size_t i = 0; i < options_.widths.size(); ++i) make_up_level(weights, i);
    out_norm_ = weights.group_norm("conv_norm_out", width, options_.groups, options_.epsilon);
    out_ = weights.conv("conv_out", width, options_.out_channels, options_.out_kernel, 1, options_.out_kernel / 2);
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    expect_forward_input(x, noise, options_.in_channels);
    const at::Tensor embedding_ND = embeddings_(noise, condition);
    const AttentionContext context =
        text_context(condition, x.size(0),
                     options_.text_projection > 0 ? options_.text_projection : options_.text_features[0], text_);
    at::Tensor h = in_(options_.is_centred ? 2 * x - 1.0 : x);
    std::vector<at::Tensor> skips{h};
    h = encoder_.middle(encoder_.down(h, embedding_ND, context, skips), embedding_ND, context);
    h = add_residuals(h, skips, condition);
    for (const UNetLevel& level : up_) h = go_up(level, h, embedding_ND, context, skips);
    return out_(options_.activation(out_norm_(h)));
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  void make_up_level(PublishedWeights& weights, std::size_t index) {
    const std::string name = concat("up_blocks.", index, ".");
    const std::size_t last = options_.widths.size() - 1, level = last - index;
    const std::int64_t out = options_.widths[level];
    const std::int64_t before = index == 0 ? out : options_.widths[level + 1];
    const std::int64_t next = options_.widths[level == 0 ? 0 : level - 1];
    UNetLevel& made = up_.emplace_back();
    for (std::int64_t i = 0; i <= options_.layers[level]; ++i) {
      const std::int64_t skip = i == options_.layers[level] ? next : out;
      made.resnets.emplace_back(weights, concat(name, "resnets.", i), options_.resnet(), (i == 0 ? before : out) + skip,
                                out);
      if (!options_.attends_up[index]) continue;
      SpatialTransformerOptions transformer = options_.transformer(level, depth_of(options_.depths_up[index], i));
      transformer.attends_to_text_only = options_.attends_to_text_only[level];
      made.transformers.emplace_back(weights, concat(name, "attentions.", i), transformer);
    }
    if (index < last) made.resample = weights.conv(name + "upsamplers.0.conv", out, out, 3, 1, 1);
  }

  /// Residuals of a ControlNet, on the skips and on the middle. A residual of one pixel is pooled and spreads.
  static at::Tensor add_residuals(const at::Tensor& h, std::vector<at::Tensor>& skips, const Condition& condition) {
    const auto add = [&](const at::Tensor& to, const std::string& name) {
      const at::Tensor residual = published_condition(condition, name, {to.size(0), to.size(1), -1, -1}, false);
      if (!residual.defined()) return to;
      const bool is_pooled = residual.size(2) == 1 && residual.size(3) == 1;
      return to + (is_pooled ? residual : published_condition(condition, name, to.sizes().vec()));
    };
    for (std::size_t i = 0; i < skips.size(); ++i) skips[i] = add(skips[i], concat("down_residual.", i));
    return add(h, "middle_residual");
  }

  static at::Tensor go_up(const UNetLevel& level, at::Tensor h, const at::Tensor& embedding_ND,
                          const AttentionContext& context, std::vector<at::Tensor>& skips) {
    for (std::size_t i = 0; i < level.resnets.size(); ++i) {
      h = level.resnets[i](at::cat({h, skips.back()}, 1), embedding_ND);
      skips.pop_back();
      if (!level.transformers.empty()) h = level.transformers[i](h, context);
    }
    if (!level.resample) return h;
    // The size of the next skip: twice that of h where no level had an odd one.
    return (*level.resample)(at::upsample_nearest2d(h, {skips.back().size(2), skips.back().size(3)}));
  }

  ConditionUNetOptions options_;
  Parameters parameters_;
  nn::Conv2d in_, out_;
  nn::Linear text_;
  UNetEmbeddings embeddings_;
  UNetEncoder encoder_;
  std::vector<UNetLevel> up_;
  nn::GroupNorm out_norm_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_unet2d_condition(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedConditionUNet>(read_options(config), std::move(source));
}

}  // namespace thaw::image
