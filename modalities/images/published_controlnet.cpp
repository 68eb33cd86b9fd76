#include "modalities/images/published_controlnet.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/images/published_unet_parts.h"

namespace thaw::image {

namespace {

struct ControlOptions {
  ConditionUNetOptions unet;
  std::int64_t control_channels;
  bool is_bgr, is_pooled;
  std::vector<std::int64_t> control_widths;
};

ControlOptions read_options(PublishedConfig& config) {
  config.accept("addition_embed_type_num_heads");
  ControlOptions options{};
  options.unet = read_condition_unet(config);
  if (options.unet.middle == ConditionUNetOptions::Middle::kNone)
    config.fail("mid_block_type", "expected one of UNetMidBlock2DCrossAttn, UNetMidBlock2D, got null.");
  if (options.unet.class_type == "simple_projection")
    config.fail("class_embed_type", "expected one of null, timestep, identity, projection, got simple_projection.");
  options.control_channels = config.integer("conditioning_channels", 3, 1, kMaxPublishedChannels);
  options.is_bgr = config.choice("controlnet_conditioning_channel_order", "rgb", {"rgb", "bgr"}) == "bgr";
  options.control_widths =
      config.integers("conditioning_embedding_out_channels", {16, 32, 96, 256}, 1, kMaxPublishedChannels);
  if (options.control_widths.empty() || options.control_widths.size() > kMaxPublishedLevels)
    config.fail("conditioning_embedding_out_channels",
                concat("expected 1 to ", kMaxPublishedLevels, " numbers, got ", options.control_widths.size(), "."));
  options.is_pooled = config.boolean("global_pool_conditions", false);
  config.refuse_unread();
  return options;
}

class PublishedControlNet : public ControlNet {
 public:
  PublishedControlNet(ControlOptions options, PublishedSource source) : options_(std::move(options)), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const ConditionUNetOptions& unet = options_.unet;
    in_ = weights.conv("conv_in", unet.in_channels, unet.widths[0], 3, 1, 1);
    embeddings_ = UNetEmbeddings(weights, unet);
    if (unet.text_projection > 0)
      text_ = weights.linear("encoder_hid_proj", unet.text_projection, unet.text_features[0]);
    make_control(weights);
    encoder_ = UNetEncoder(weights, unet);
    std::vector<std::int64_t> widths{unet.widths[0]};
    for (std::size_t i = 0; i < unet.widths.size(); ++i)
      widths.insert(widths.end(), static_cast<std::size_t>(unet.layers[i] + (i + 1 < unet.widths.size() ? 1 : 0)),
                    unet.widths[i]);
    for (std::size_t i = 0; i < widths.size(); ++i)
      down_out_.push_back(weights.conv(concat("controlnet_down_blocks.", i), widths[i], widths[i], 1));
    middle_out_ = weights.conv("controlnet_mid_block", unet.widths.back(), unet.widths.back(), 1);
    weights.refuse_left_over();
  }

  Condition residuals(const at::Tensor& x, const at::Tensor& noise, const Condition& condition,
                      double scale) const override {
    const ConditionUNetOptions& unet = options_.unet;
    expect_forward_input(x, noise, unet.in_channels);
    const at::Tensor embedding_ND = embeddings_(noise, condition);
    const AttentionContext context = text_context(
        condition, x.size(0), unet.text_projection > 0 ? unet.text_projection : unet.text_features[0], text_);
    at::Tensor h = in_(x) + control(x, condition);
    std::vector<at::Tensor> skips{h};
    h = encoder_.middle(encoder_.down(h, embedding_ND, context, skips), embedding_ND, context);
    const auto finish = [&](const at::Tensor& residual) {
      const at::Tensor scaled = residual * scale;
      return options_.is_pooled ? at::mean(scaled, {2, 3}, true) : scaled;
    };
    Condition out;
    for (std::size_t i = 0; i < skips.size(); ++i) out[concat("down_residual.", i)] = finish(down_out_[i](skips[i]));
    out["middle_residual"] = finish(middle_out_(h));
    return out;
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  void make_control(PublishedWeights& weights) {
    const std::string name = "controlnet_cond_embedding.";
    const std::vector<std::int64_t>& widths = options_.control_widths;
    control_.push_back(weights.conv(name + "conv_in", options_.control_channels, widths[0], 3, 1, 1));
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      control_.push_back(weights.conv(concat(name, "blocks.", 2 * i), widths[i], widths[i], 3, 1, 1));
      control_.push_back(weights.conv(concat(name, "blocks.", 2 * i + 1), widths[i], widths[i + 1], 3, 2, 1));
    }
    control_.push_back(weights.conv(name + "conv_out", widths.back(), options_.unet.widths[0], 3, 1, 1));
  }

  at::Tensor control(const at::Tensor& x, const Condition& condition) const {
    const std::int64_t factor = std::int64_t{1} << (options_.control_widths.size() - 1);
    at::Tensor h = published_condition(condition, "control",
                                       {x.size(0), options_.control_channels, factor * x.size(2), factor * x.size(3)});
    if (options_.is_bgr) h = h.flip(1);
    for (std::size_t i = 0; i + 1 < control_.size(); ++i) h = at::silu(control_[i](h));
    return control_.back()(h);
  }

  ControlOptions options_;
  Parameters parameters_;
  nn::Conv2d in_, middle_out_;
  UNetEmbeddings embeddings_;
  nn::Linear text_;
  std::vector<nn::Conv2d> control_, down_out_;
  UNetEncoder encoder_;
};

class Controlled : public Backbone {
 public:
  Controlled(std::unique_ptr<Backbone> network, std::vector<ScaledControl> controls)
      : network_(std::move(network)), controls_(std::move(controls)) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    Condition whole = condition;
    for (std::size_t i = 0; i < controls_.size(); ++i) {
      const std::string name = i == 0 ? "control" : concat("control.", i);
      Condition own = condition;
      own["control"] = published_condition(condition, name, {x.size(0), -1, -1, -1});
      for (const auto& [key, residual] : controls_[i].network->residuals(x, noise, own, controls_[i].scale)) {
        at::Tensor& sum = whole[key];
        sum = sum.defined() ? sum + residual : residual;
      }
    }
    return network_->forward(x, noise, whole);
  }
  const Parameters& parameters() const override { return network_->parameters(); }
  bool learns_variance() const override { return network_->learns_variance(); }
  DataSpec own_spec() const override { return network_->own_spec(); }

 private:
  std::unique_ptr<Backbone> network_;
  std::vector<ScaledControl> controls_;
};

}  // namespace

std::unique_ptr<ControlNet> make_published_controlnet(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedControlNet>(read_options(config), std::move(source));
}

std::unique_ptr<Backbone> with_control(std::unique_ptr<Backbone> network, std::vector<ScaledControl> controls) {
  return std::make_unique<Controlled>(std::move(network), std::move(controls));
}

}  // namespace thaw::image
