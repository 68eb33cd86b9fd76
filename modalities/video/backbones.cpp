// The video denoisers of our own.

#include <ATen/core/Tensor.h>

#include "core/base/text.h"
#include "modalities/video/list.h"
#include "text/told_unet.h"

namespace thaw::video {

namespace {

std::unique_ptr<Backbone> make_unet3d(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  if (spec.shape.size() != 4 || spec.shape[2] != spec.shape[3])
    settings.fail("type", concat("works on square clips [channels, frames, side, side], the data is ",
                                 at::IntArrayRef(spec.shape), "."));
  return text::make_told_unet(settings, spec, seed);
}

}  // namespace

void register_backbones(BackboneRegistry& registry) {
  std::vector<Option> options = text::unet_options({1, 2, 2}, {8});
  options.push_back({"temporal", std::vector<double>{}, "resolutions with attention along time; none: all", 1, 65536});
  registry.add({{"unet3d",
                 "U-Net of frames with attention along time behind every block: any number of frames.",
                 "Ho et al. 2022 (Video Diffusion Models), section 3",
                 options,
                 {}},
                make_unet3d});
}

}  // namespace thaw::video
