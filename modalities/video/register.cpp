#include "modalities/video/register.h"

#include "modalities/video/list.h"

namespace thaw::video {

void register_video(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones) {
  register_moving_digits(datasets);
  register_codecs(codecs);
  register_backbones(backbones);
  register_transformers(backbones);
}

}  // namespace thaw::video
