#include "modalities/video/register.h"

#include "modalities/video/list.h"

namespace thaw::video {

void register_video(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones,
                    MetricRegistry& metrics) {
  register_moving_digits(datasets);
  register_moving_mnist(datasets);
#ifdef THAW_HAS_MEDIA
  register_clip_folder(datasets);
  register_clip_csv(datasets);
#endif
  register_codecs(codecs);
  register_backbones(backbones);
  register_classifiers(backbones);
  register_digit_metrics(metrics);
  register_fvd(metrics);
  register_transformers(backbones);
}

}  // namespace thaw::video
