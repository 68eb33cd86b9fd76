// An autoencoder of sounds to train latents with.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/base/text.h"
#include "core/exportable.h"
#include "modalities/audio/list.h"
#include "modalities/audio/oobleck.h"

namespace thaw::audio {

namespace {

LatentSpec spec_of(const OobleckOptions& options) {
  return {options.data_channels, options.latent_channels, {options.factor()}};
}

class OobleckAutoencoder : public AutoencoderNetwork, public Exportable {
 public:
  OobleckAutoencoder(const OobleckOptions& options, std::uint64_t seed)
      : AutoencoderNetwork(seed, spec_of(options), 0), options_(options) {
    const Scope scope(own_parameters());
    const TakeWeight take = [&](const std::string& name, at::IntArrayRef shape, const Init& init) {
      own_.push_back({name, scope.add(name, shape, init)});
      return own_.back().second;
    };
    network_ = Oobleck(take, options);
    start_at_own_length();
  }
  at::Tensor decoded(const at::Tensor& z) const override { return network_.decode(z); }

  std::string published_config(std::int64_t rate) const override {
    nlohmann::json config{{"_class_name", "AutoencoderOobleck"},
                          {"audio_channels", options_.data_channels},
                          {"channel_multiples", options_.multipliers},
                          {"decoder_channels", options_.decoder_width},
                          {"decoder_input_channels", options_.latent_channels},
                          {"downsampling_ratios", options_.strides},
                          {"encoder_hidden_size", options_.encoder_width}};
    if (rate > 0) config["sampling_rate"] = rate;
    return config.dump(2) + "\n";
  }
  NamedTensors published_weights() const override { return own_; }

 protected:
  at::Tensor moments(const at::Tensor& x) const override {
    const Posterior posterior = oobleck_posterior(network_.encode(x));
    return at::cat({posterior.mean, posterior.log_variance}, 1);
  }

 private:
  // Each direction's length is what it was drawn with, so that a normed weight starts as one that is not.
  void start_at_own_length() {
    const c10::NoGradGuard no_grad;
    for (const auto& [name, length] : own_) {
      if (!name.ends_with(".weight_g")) continue;
      const std::string direction = name.substr(0, name.size() - 1) + "v";
      for (const auto& [other, tensor] : own_)
        if (other == direction) length.copy_(tensor.square().sum({1, 2}, true).sqrt());
    }
  }

  OobleckOptions options_;
  NamedTensors own_;  // without what is noted of latents
  Oobleck network_;
};

std::unique_ptr<Backbone> make_oobleck(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  if (spec.shape.size() != 2)
    settings.fail("type",
                  concat("works on sounds [channels, samples], the data is ", at::IntArrayRef(spec.shape), "."));
  OobleckOptions options;
  options.data_channels = spec.shape[0];
  options.latent_channels = settings.integer("latent_channels");
  options.encoder_width = options.moments();
  options.decoder_width = settings.integer("width");
  options.strides = settings.integers("strides");
  options.multipliers = settings.integers("multipliers");
  if (options.strides.empty() || options.strides.size() > 10)
    settings.fail("strides", concat("expected 1 to 10 of them, got ", options.strides.size(), "."));
  if (options.multipliers.size() != options.strides.size())
    settings.fail("multipliers", concat("expected ", options.strides.size(), " numbers, one a stride, got ",
                                        options.multipliers.size(), "."));
  for (const std::int64_t stride : options.strides)
    if (stride % 2 != 0) settings.fail("strides", concat("must be even, got ", stride, "."));
  const std::int64_t factor = options.factor();
  if (spec.shape[1] % factor != 0)
    settings.fail("strides", concat("a latent place stands for ", factor, " samples, which do not divide the ",
                                    spec.shape[1], " of the data."));
  return std::make_unique<OobleckAutoencoder>(options, seed);
}

}  // namespace

void register_autoencoders(BackboneRegistry& registry) {
  registry.add(
      {{"oobleck",
        "Snakes and strided convolutions from sounds down to latents and back; thaw export writes it as "
        "AutoencoderOobleck.",
        "Evans et al. 2024 (Stable Audio Open), section 3; Kumar et al. 2023 (DAC)",
        {{"latent_channels", std::int64_t{16}, "numbers a latent place; the encoder is twice as wide", 1, 1024},
         {"width", std::int64_t{32}, "channels of the decoder at the sound's own rate", 1, 4096},
         {"strides", std::vector<double>{2, 4, 4, 4}, "samples that become one, a level; even", 2, 64},
         {"multipliers", std::vector<double>{1, 2, 4, 4}, "of the widths, a level", 1, 64}},
        {"autoencoder"}},
       make_oobleck});
}

}  // namespace thaw::audio
