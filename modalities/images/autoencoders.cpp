// A small convolutional autoencoder of pictures, to train latents with.

#include <ATen/ATen.h>

#include "core/autoencoder.h"
#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/layers.h"
#include "modalities/images/list.h"

namespace thaw::image {

namespace {

/// GroupNorm, SiLU, convolution, twice; zero at the start.
struct Block {
  nn::GroupNorm norm1, norm2;
  nn::Conv2d conv1, conv2, skip;
  Block(const Scope& scope, std::int64_t in, std::int64_t out)
      : norm1(scope / "norm1", in, nn::norm_groups(in)),
        norm2(scope / "norm2", out, nn::norm_groups(out)),
        conv1(scope / "conv1", in, out, 3),
        conv2(scope / "conv2", out, out, 3, 1, 0.0) {
    if (in != out) skip = nn::Conv2d(scope / "skip", in, out, 1);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor h = conv2(at::silu(norm2(conv1(at::silu(norm1(x))))));
    return (skip.weight.defined() ? skip(x) : x) + h;
  }
};

struct Options {
  std::int64_t channels, patch, latent_channels, num_codes, blocks;
  std::vector<std::int64_t> widths;
};

LatentSpec spec_of(const Options& options) {
  const std::int64_t factor = options.patch << (options.widths.size() - 1);
  return {options.channels, options.latent_channels, {factor, factor}};
}

/// The convolutional autoencoder of LDM without attention; the outermost resolution is folded into channels (Shi et al.
/// 2016), which saves most of its work.
class ConvolutionalAutoencoder : public AutoencoderNetwork {
 public:
  ConvolutionalAutoencoder(const Options& options, std::uint64_t seed)
      : AutoencoderNetwork(seed, spec_of(options), options.num_codes), patch_(options.patch) {
    const Scope encoder = Scope(own_parameters()) / "encoder", decoder = Scope(own_parameters()) / "decoder";
    const std::int64_t folded = options.channels * patch_ * patch_;
    const auto& widths = options.widths;
    const std::int64_t moments = options.latent_channels * (options.num_codes > 0 ? 1 : 2);
    in_ = nn::Conv2d(encoder / "in", folded, widths.front(), 3);
    for (std::size_t level = 0; level < widths.size(); ++level) {
      const std::int64_t before = widths[level == 0 ? 0 : level - 1];
      down_.push_back(stage(encoder / "stages" / level, before, widths[level], options.blocks));
      const std::size_t mirrored = widths.size() - 1 - level;
      const std::int64_t above = widths[level == 0 ? mirrored : mirrored + 1];
      up_.push_back(stage(decoder / "stages" / level, above, widths[mirrored], options.blocks));
    }
    encoder_norm_ = nn::GroupNorm(encoder / "norm", widths.back(), nn::norm_groups(widths.back()));
    to_latent_ = nn::Conv2d(encoder / "out", widths.back(), moments, 3);
    from_latent_ = nn::Conv2d(decoder / "in", options.latent_channels, widths.back(), 3);
    decoder_norm_ = nn::GroupNorm(decoder / "norm", widths.front(), nn::norm_groups(widths.front()));
    out_ = nn::Conv2d(decoder / "out", widths.front(), folded, 3);
  }

  at::Tensor decoded(const at::Tensor& z) const override {
    at::Tensor h = from_latent_(z);
    for (std::size_t level = 0; level < up_.size(); ++level) {
      if (level > 0) h = at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)});
      for (const Block& block : up_[level]) h = block(h);
    }
    return at::pixel_shuffle(out_(at::silu(decoder_norm_(h))), patch_);
  }

 protected:
  at::Tensor moments(const at::Tensor& x) const override {
    at::Tensor h = in_(at::pixel_unshuffle(x, patch_));
    for (std::size_t level = 0; level < down_.size(); ++level) {
      if (level > 0) h = at::avg_pool2d(h, {2, 2});
      for (const Block& block : down_[level]) h = block(h);
    }
    return to_latent_(at::silu(encoder_norm_(h)));
  }

 private:
  static std::vector<Block> stage(const Scope& scope, std::int64_t in, std::int64_t out, std::int64_t blocks) {
    std::vector<Block> made;
    for (std::int64_t i = 0; i < blocks; ++i)
      made.emplace_back(scope / static_cast<std::size_t>(i), i == 0 ? in : out, out);
    return made;
  }

  std::int64_t patch_;
  nn::Conv2d in_, out_, to_latent_, from_latent_;
  nn::GroupNorm encoder_norm_, decoder_norm_;
  std::vector<std::vector<Block>> down_, up_;  // up: from the smallest resolution on
};

std::unique_ptr<Backbone> make_autoencoder(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  if (spec.shape.size() != 3) settings.fail("type", "works on pictures [channels, height, width].");
  Options options{spec.shape[0],
                  settings.integer("patch"),
                  settings.integer("latent_channels"),
                  settings.integer("codes"),
                  settings.integer("blocks"),
                  {}};
  for (const std::int64_t multiplier : settings.integers("multipliers"))
    options.widths.push_back(multiplier * settings.integer("width"));
  if (options.widths.empty()) settings.fail("multipliers", "needs one number a level.");
  if (options.widths.size() > 10) settings.fail("multipliers", "names more than 10 levels.");
  const std::int64_t factor = spec_of(options).factors[0];
  if (spec.shape[1] % factor != 0 || spec.shape[2] % factor != 0)
    settings.fail("multipliers",
                  concat("with patch ", options.patch, " a latent position stands for ", factor, " x ", factor,
                         " pixels, which do not tile ", spec.shape[1], " x ", spec.shape[2], "."));
  return std::make_unique<ConvolutionalAutoencoder>(options, seed);
}

}  // namespace

void register_autoencoders(BackboneRegistry& registry) {
  registry.add(
      {{"convolutional_autoencoder",
        "Residual convolutions down to latents and back; KL-regularised, or with codes.",
        "Rombach et al. 2022 (LDM), appendix G; van den Oord et al. 2017 (VQ-VAE)",
        {{"width", std::int64_t{32}, "channels at multiplier 1", 4, 4096},
         {"multipliers", std::vector<double>{1, 2}, "of the width, one a resolution; each halves the last", 1, 64},
         {"blocks", std::int64_t{1}, "residual blocks a resolution", 1, 64},
         {"patch", std::int64_t{2}, "pixels a side that are folded into channels first", 1, 16},
         {"latent_channels", std::int64_t{4}, "numbers a latent position", 1, 1024},
         {"codes", std::int64_t{0}, "size of the codebook; 0: continuous latents with a variance", 0, 1e6}},
        {"autoencoder"}},
       make_autoencoder});
}

}  // namespace thaw::image
