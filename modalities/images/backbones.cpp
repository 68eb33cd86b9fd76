// The picture denoisers of our own: U-Net and DiT.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/dit.h"
#include "modalities/images/list.h"
#include "text/told_backbone.h"
#include "text/told_unet.h"

namespace thaw::image {

namespace {

void expect_picture(const Settings& settings, const DataSpec& spec) {
  if (spec.shape.size() != 3)
    settings.fail(
        "type", concat("works on pictures [channels, height, width], the data is ", at::IntArrayRef(spec.shape), "."));
}

std::unique_ptr<Backbone> make_unet(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  expect_picture(settings, spec);
  return text::make_told_unet(settings, spec, seed);
}

std::unique_ptr<Backbone> make_dit(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  expect_picture(settings, spec);
  text::expect_captions(settings, spec);
  text::expect_coarse(settings, spec, 1);
  nn::DiTOptions options;
  options.in_channels = options.out_channels = spec.shape[0];
  options.height = spec.shape[1];
  options.width = spec.shape[2];
  options.patch = settings.integer("patch");
  options.features = settings.integer("features");
  options.depth = settings.integer("depth");
  options.heads = settings.integer("heads");
  options.num_classes = spec.num_classes;
  if (options.height % options.patch != 0 || options.width % options.patch != 0)
    settings.fail("patch",
                  concat(options.patch, " does not tile a picture of ", options.height, " x ", options.width, "."));
  if (options.features % (4 * options.heads) != 0 && options.features % options.heads + options.features % 4 != 0)
    settings.fail("features", concat("must be a multiple of heads and of 4, got ", options.features, " with ",
                                     options.heads, " heads."));
  return std::make_unique<text::ToldBackbone<nn::DiT, nn::DiTOptions>>(options, settings, seed);
}

}  // namespace

void register_backbones(BackboneRegistry& registry) {
  registry.add({{"unet",
                 "U-Net with time- and class-conditioned residual blocks and attention at chosen resolutions.",
                 "Dhariwal and Nichol 2021 (ADM); Song et al. 2021 (DDPM++)",
                 text::unet_options({1, 2, 2}, {7}),
                 {}},
                make_unet});
  registry.add({{"dit",
                 "Diffusion transformer on patches, adaLN-Zero.",
                 "Peebles and Xie 2023",
                 text::with_told_options({{"patch", std::int64_t{2}, "pixels a side of a patch", 1, 256},
                                          {"features", std::int64_t{128}, "width of a token", 4, 16384},
                                          {"depth", std::int64_t{6}, "blocks", 1, 256},
                                          {"heads", std::int64_t{4}, "attention heads", 1, 256}}),
                 {}},
                make_dit});
}

}  // namespace thaw::image
