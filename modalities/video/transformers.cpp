// Transformers over patches of clips. A still is a clip of one frame.

#include <ATen/core/Tensor.h>

#include "core/base/text.h"
#include "core/nn/space_time.h"
#include "modalities/video/list.h"
#include "text/told_backbone.h"

namespace thaw::video {

namespace {

std::vector<Option> transformer_options() {
  return text::with_told_options({{"patch", std::int64_t{2}, "pixels a side of a patch", 1, 256},
                                  {"patch_time", std::int64_t{1}, "frames of a patch", 1, 256},
                                  {"features", std::int64_t{128}, "width of a patch", 4, 16384},
                                  {"depth", std::int64_t{6}, "blocks", 1, 256},
                                  {"heads", std::int64_t{4}, "attention heads", 1, 256}});
}

nn::SpaceTimeOptions read_options(const Settings& settings, const DataSpec& spec) {
  if (spec.shape.size() != 4)
    settings.fail("type", concat("works on clips [channels, frames, height, width], the data is ",
                                 at::IntArrayRef(spec.shape), "."));
  text::expect_captions(settings, spec);
  text::expect_coarse(settings, spec, 1);
  nn::SpaceTimeOptions options;
  options.in_channels = options.out_channels = spec.shape[0];
  const std::int64_t patch = settings.integer("patch"), frames = settings.integer("patch_time");
  options.patch = {frames, patch, patch};
  options.features = settings.integer("features");
  options.depth = settings.integer("depth");
  options.heads = settings.integer("heads");
  options.num_classes = spec.num_classes;
  if (spec.shape[1] % frames != 0)
    settings.fail("patch_time", concat(frames, " does not divide clips of ", spec.shape[1], " frames."));
  if (spec.shape[2] % patch != 0 || spec.shape[3] % patch != 0)
    settings.fail("patch", concat(patch, " does not tile frames of ", spec.shape[2], " x ", spec.shape[3], "."));
  return options;
}

std::unique_ptr<Backbone> make_video_dit(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  const nn::SpaceTimeOptions options = read_options(settings, spec);
  if (options.features % options.heads != 0 || options.features % 4 != 0)
    settings.fail("features", concat("must be a multiple of heads and of 4, got ", options.features, " with ",
                                     options.heads, " heads."));
  return std::make_unique<text::ToldBackbone<nn::FactorisedTransformer, nn::SpaceTimeOptions>>(options, settings, seed);
}

std::unique_ptr<Backbone> make_video_transformer(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  const nn::SpaceTimeOptions options = read_options(settings, spec);
  if (options.features % (2 * options.heads) != 0)
    settings.fail("features", concat("must be a multiple of twice the heads, got ", options.features, " with ",
                                     options.heads, " heads."));
  return std::make_unique<text::ToldBackbone<nn::RotaryTransformer, nn::SpaceTimeOptions>>(options, settings, seed);
}

}  // namespace

void register_transformers(BackboneRegistry& registry) {
  registry.add({{"video_dit",
                 "Diffusion transformer on patches of clips: blocks in turn within frames and along time, adaLN-Zero.",
                 "Ma et al. 2024 (Latte), variant 1",
                 transformer_options(),
                 {}},
                make_video_dit});
  registry.add({{"video_transformer",
                 "Diffusion transformer whose patches attend to all others of the clip: rotary positions in time, rows "
                 "and columns, normed queries and keys.",
                 "Wan Team 2025; HaCohen et al. 2024 (LTX-Video)",
                 transformer_options(),
                 {}},
                make_video_transformer});
}

}  // namespace thaw::video
