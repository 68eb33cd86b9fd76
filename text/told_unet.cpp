#include "text/told_unet.h"

#include "core/base/text.h"
#include "core/nn/unet2d.h"

namespace thaw::text {

std::vector<Option> unet_options(std::vector<double> multipliers, std::vector<double> attention) {
  return with_told_options(
      {{"width", std::int64_t{32}, "channels at multiplier 1", 4, 4096},
       {"multipliers", std::move(multipliers), "of the width, one a resolution", 1, 64},
       {"patch", std::int64_t{1}, "pixels a side that are one place of the network; resolutions are of places", 1, 64},
       {"blocks", std::int64_t{1}, "residual blocks a resolution", 1, 64},
       {"attention", std::move(attention), "resolutions with self-attention, as heights in places", 1, 65536},
       {"head_width", std::int64_t{32}, "channels an attention head", 1, 4096},
       {"dropout", 0.0, "in residual blocks, while training", 0.0, 0.95}});
}

std::unique_ptr<Backbone> make_told_unet(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  expect_captions(settings, spec);
  expect_coarse(settings, spec, 1);
  nn::UNet2dOptions options;
  options.in_channels = options.out_channels = spec.shape[0];
  // Of unequal sides the first counts places for `attention`; nothing else in the network depends on sides.
  const std::vector<std::int64_t> sides(spec.shape.end() - 2, spec.shape.end());
  options.size = sides[0];
  options.patch = settings.integer("patch");
  options.width = settings.integer("width");
  options.multipliers = settings.integers("multipliers");
  options.blocks = settings.integer("blocks");
  options.attention = settings.integers("attention");
  options.head_width = settings.integer("head_width");
  options.dropout = settings.number("dropout");
  options.num_classes = spec.num_classes;
  options.is_temporal = spec.shape.size() == 4;
  if (options.is_temporal) options.temporal = settings.integers("temporal");
  if (options.multipliers.empty()) settings.fail("multipliers", "needs one number a level.");
  const std::int64_t halvings = static_cast<std::int64_t>(options.multipliers.size()) - 1;
  for (const std::int64_t side : sides) {
    if (side % options.patch != 0)
      settings.fail("patch", concat("must divide the side ", side, ", got ", options.patch, "."));
    const std::int64_t places = side / options.patch;
    if (halvings > 20 || places % (std::int64_t{1} << halvings) != 0)
      settings.fail("multipliers", concat(options.multipliers.size(), " levels halve the picture ", halvings,
                                          " times, but its side is ", places, "."));
  }
  return std::make_unique<ToldBackbone<nn::UNet2d, nn::UNet2dOptions>>(options, settings, seed);
}

}  // namespace thaw::text
