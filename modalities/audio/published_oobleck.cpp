// AutoencoderOobleck of diffusers: the autoencoder of Stable Audio.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "modalities/audio/oobleck.h"
#include "modalities/audio/published.h"

namespace thaw::audio {

namespace {

constexpr std::int64_t kMaxChannels = 1 << 16, kMaxStride = 256;
constexpr std::size_t kMaxLevels = 10;
constexpr std::int64_t kMaxFactor = 1 << 20;
constexpr std::int64_t kLeastRate_hz = 1000, kMostRate_hz = 384000;

OobleckOptions read_options(PublishedConfig& config) {
  OobleckOptions options;
  options.encoder_width = config.integer("encoder_hidden_size", 128, 2, kMaxChannels);
  options.decoder_width = config.integer("decoder_channels", 128, 1, kMaxChannels);
  options.latent_channels = config.integer("decoder_input_channels", 64, 1, kMaxChannels);
  options.data_channels = config.integer("audio_channels", 2, 1, kMaxChannels);
  options.strides = config.integers("downsampling_ratios", {2, 4, 4, 8, 8}, 1, kMaxStride);
  options.multipliers = config.integers("channel_multiples", {1, 2, 4, 8, 16}, 1, kMaxChannels);
  config.refuse_unread();
  const std::size_t levels = options.strides.size();
  if (levels < 1 || levels > kMaxLevels)
    config.fail("downsampling_ratios", concat("expected 1 to ", kMaxLevels, " levels, got ", levels, "."));
  std::int64_t factor = 1;
  for (const std::int64_t stride : options.strides) {
    if (stride % 2 != 0)
      config.fail("downsampling_ratios",
                  concat("expected even numbers, got ", stride, ": the way back would be shorter than the sound."));
    factor *= stride;
    if (factor > kMaxFactor) config.fail("downsampling_ratios", concat("multiply to more than ", kMaxFactor, "."));
  }
  if (options.multipliers.size() != levels)
    config.fail("channel_multiples", concat("expected ", levels, " numbers, one a level of downsampling_ratios, got ",
                                            options.multipliers.size(), "."));
  if (options.encoder_width != options.moments())
    config.fail("encoder_hidden_size", concat("is that of means and spreads: expected twice decoder_input_channels ",
                                              options.latent_channels, ", got ", options.encoder_width, "."));
  return options;
}

void expect_input(const at::Tensor& x, std::int64_t channels, std::int64_t factor) {
  if (x.dim() != 3 || x.size(0) < 1 || x.size(1) != channels || x.size(2) < 1 || x.size(2) % factor != 0)
    throw DataError(concat("autoencoder input: expected [N, ", channels, ", T] with T a multiple of ", factor, ", got ",
                           x.sizes(), "."));
}

class PublishedOobleck : public Autoencoder {
 public:
  PublishedOobleck(OobleckOptions options, PublishedSource source) : options_(std::move(options)), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const TakeWeight take = [&weights](const std::string& name, at::IntArrayRef shape, const Init&) {
      return weights.take(name, shape);
    };
    network_ = Oobleck(take, options_);
    weights.refuse_left_over();
  }
  LatentSpec latent() const override { return {options_.data_channels, options_.latent_channels, {options_.factor()}}; }
  Posterior encode(const at::Tensor& x) const override {
    expect_input(x, options_.data_channels, options_.factor());
    return oobleck_posterior(network_.encode(x));
  }
  at::Tensor decode(const at::Tensor& z) const override {
    expect_input(z, options_.latent_channels, 1);
    return network_.decode(z);
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  OobleckOptions options_;
  Parameters parameters_;
  Oobleck network_;
};

}  // namespace

const std::vector<std::string>& published_autoencoder_names() {
  static const std::vector<std::string> names{"AutoencoderOobleck"};
  return names;
}

PublishedSoundAutoencoder open_published_autoencoder(const std::filesystem::path& folder, WeightType type) {
  OpenPublishedConfig opened = open_published_config(folder, published_autoencoder_names());
  const std::int64_t rate_hz = opened.config.integer("sampling_rate", 44100, kLeastRate_hz, kMostRate_hz);
  return {std::make_unique<PublishedOobleck>(read_options(opened.config),
                                             PublishedSource{map_tensors(folder).tensors, folder.string(), type}),
          rate_hz};
}

}  // namespace thaw::audio
