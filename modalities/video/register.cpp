#include "modalities/video/register.h"

#include "modalities/video/list.h"

namespace thaw::video {

void register_video(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones) {
  register_moving_digits(datasets);
  register_moving_mnist(datasets);
#ifdef THAW_HAS_MEDIA
  register_clip_folder(datasets);
  register_clip_csv(datasets);
#endif
  register_codecs(codecs);
  register_backbones(backbones);
}

}  // namespace thaw::video
