// AutoencoderTiny of diffusers: Bohan's tiny autoencoder for Stable Diffusion (TAESD).

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/images/published_autoencoder.h"
#include "modalities/images/published_blocks.h"

namespace thaw::image {

namespace {

struct TinyOptions {
  LatentSpec latent;
  std::int64_t out_channels, upscale;
  std::vector<std::int64_t> encoder_widths, decoder_widths, encoder_blocks, decoder_blocks;
  Activation activation;
};

std::int64_t power(std::int64_t base, std::size_t exponent) {
  std::int64_t value = 1;
  for (std::size_t i = 0; i < exponent; ++i) value *= base;
  return value;
}

TinyOptions read_options(PublishedConfig& config) {
  constexpr std::int64_t kMax = kMaxPublishedChannels;
  TinyOptions options{};
  // How the peer stores latents in bytes, what it casts, and a second name of decoder_block_out_channels.
  for (const char* key : {"latent_magnitude", "latent_shift", "force_upcast", "block_out_channels"}) config.accept(key);
  options.latent.data_channels = config.integer("in_channels", 3, 1, kMax);
  options.out_channels = config.integer("out_channels", 3, 1, kMax);
  options.latent.channels = config.integer("latent_channels", 4, 1, kMax);
  options.encoder_widths = config.integers("encoder_block_out_channels", {64, 64, 64, 64}, 1, kMax);
  options.decoder_widths = config.integers("decoder_block_out_channels", {64, 64, 64, 64}, 1, kMax);
  options.encoder_blocks = config.integers("num_encoder_blocks", {1, 3, 3, 3}, 0, 64);
  options.decoder_blocks = config.integers("num_decoder_blocks", {3, 3, 3, 1}, 0, 64);
  options.upscale = config.integer("upsampling_scaling_factor", 2, 1, 16);
  options.activation = activation_from_name(config.choice("act_fn", "relu", activation_names()));
  config.choice("upsample_fn", "nearest", {"nearest"});
  options.latent.scale = {config.number("scaling_factor", 1.0, 1e-12, 1e12)};
  options.latent.shift = {config.number("shift_factor", 0.0, -1e12, 1e12)};
  config.refuse_unread();
  const std::size_t levels = options.encoder_blocks.size();
  if (levels < 1 || levels > kMaxPublishedLevels || options.encoder_widths.size() != levels)
    config.fail("num_encoder_blocks", concat("expected 1 to ", kMaxPublishedLevels,
                                             " levels, as many as encoder_block_out_channels, got ", levels, "."));
  if (options.decoder_blocks.size() != levels || options.decoder_widths.size() != levels)
    config.fail("num_decoder_blocks",
                concat("expected ", levels, " levels, as the encoder has, got ", options.decoder_blocks.size(), "."));
  // The peer convolves between widths without changing them, so that only equal ones fit.
  for (const char* key : {"encoder_block_out_channels", "decoder_block_out_channels"})
    for (const std::int64_t width : key[0] == 'e' ? options.encoder_widths : options.decoder_widths)
      if (width != (key[0] == 'e' ? options.encoder_widths : options.decoder_widths)[0])
        config.fail(key, "expected equal widths: a level's convolutions do not change them.");
  options.latent.factors.assign(2, power(2, levels - 1));
  if (power(options.upscale, levels - 1) != options.latent.factors[0])
    config.fail("upsampling_scaling_factor", concat("expected 2, the encoder's stride, got ", options.upscale, "."));
  return options;
}

/// AutoencoderTinyBlock, with as many channels out as in.
struct Block {
  nn::Conv2d conv1, conv2, conv3;
  Activation activation;
  Block(PublishedWeights& weights, const std::string& name, std::int64_t width, Activation activation_)
      : conv1(weights.conv(name + ".conv.0", width, width, 3, 1, 1)),
        conv2(weights.conv(name + ".conv.2", width, width, 3, 1, 1)),
        conv3(weights.conv(name + ".conv.4", width, width, 3, 1, 1)),
        activation(activation_) {}
  at::Tensor operator()(const at::Tensor& x) const {
    return at::relu(conv3(activation(conv2(activation(conv1(x))))) + x);
  }
};

class AutoencoderTiny : public Autoencoder {
 public:
  AutoencoderTiny(TinyOptions options, PublishedSource source) : options_(std::move(options)), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    make_encoder(weights);
    make_decoder(weights);
    weights.refuse_left_over();
  }

  LatentSpec latent() const override { return options_.latent; }
  const Parameters& parameters() const override { return parameters_; }

  Posterior encode(const at::Tensor& x) const override {
    expect_autoencoder_input(x, options_.latent.data_channels, options_.latent.factors[0]);
    at::Tensor h = (x + 1) / 2;
    for (const Level& level : encoder_) h = run(level, level.conv(h));
    return {encoder_out_(h)};
  }

  at::Tensor decode(const at::Tensor& z) const override {
    expect_autoencoder_input(z, options_.latent.channels, 1);
    at::Tensor h = options_.activation(decoder_in_(at::tanh(z / 3) * 3));
    for (std::size_t i = 0; i < decoder_.size(); ++i) {
      h = run(decoder_[i], h);
      const std::int64_t scale = i + 1 == decoder_.size() ? 1 : options_.upscale;
      if (scale > 1) h = at::upsample_nearest2d(h, {scale * h.size(2), scale * h.size(3)});
      h = decoder_[i].conv(h);
    }
    return h * 2 - 1;
  }

 private:
  struct Level {
    nn::Conv2d conv;  // before the blocks of the encoder, after those of the decoder
    std::vector<Block> blocks;
  };

  static at::Tensor run(const Level& level, at::Tensor h) {
    for (const Block& block : level.blocks) h = block(h);
    return h;
  }

  void make_encoder(PublishedWeights& weights) {
    std::int64_t index = 0;
    const auto name = [&] { return concat("encoder.layers.", index++); };
    for (std::size_t i = 0; i < options_.encoder_blocks.size(); ++i) {
      const std::int64_t width = options_.encoder_widths[i];
      Level& level = encoder_.emplace_back();
      level.conv = i == 0 ? weights.conv(name(), options_.latent.data_channels, width, 3, 1, 1)
                          : weights.conv(name(), width, width, 3, 2, 1, false);
      for (std::int64_t b = 0; b < options_.encoder_blocks[i]; ++b)
        level.blocks.emplace_back(weights, name(), width, options_.activation);
    }
    encoder_out_ = weights.conv(name(), options_.encoder_widths.back(), options_.latent.channels, 3, 1, 1);
  }

  void make_decoder(PublishedWeights& weights) {
    std::int64_t index = 0;
    const auto name = [&] { return concat("decoder.layers.", index++); };
    decoder_in_ = weights.conv(name(), options_.latent.channels, options_.decoder_widths[0], 3, 1, 1);
    ++index;  // the activation
    for (std::size_t i = 0; i < options_.decoder_blocks.size(); ++i) {
      const std::int64_t width = options_.decoder_widths[i];
      const bool is_last = i + 1 == options_.decoder_blocks.size();
      Level& level = decoder_.emplace_back();
      for (std::int64_t b = 0; b < options_.decoder_blocks[i]; ++b)
        level.blocks.emplace_back(weights, name(), width, options_.activation);
      if (!is_last) ++index;  // the upsampling
      level.conv = weights.conv(name(), width, is_last ? options_.out_channels : width, 3, 1, 1, is_last);
    }
  }

  TinyOptions options_;
  Parameters parameters_;
  std::vector<Level> encoder_, decoder_;
  nn::Conv2d encoder_out_, decoder_in_;
};

}  // namespace

std::unique_ptr<Autoencoder> make_published_autoencoder_tiny(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<AutoencoderTiny>(read_options(config), std::move(source));
}

}  // namespace thaw::image
