#pragma once
// The parts of the modality that register themselves with the catalog; see register_video.

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/metrics/metric.h"

namespace thaw::video {

void register_moving_digits(DatasetRegistry& registry);
void register_moving_mnist(DatasetRegistry& registry);
#ifdef THAW_HAS_MEDIA
void register_clip_folder(DatasetRegistry& registry);
void register_clip_csv(DatasetRegistry& registry);
#endif
void register_codecs(CodecRegistry& registry);
void register_backbones(BackboneRegistry& registry);
void register_classifiers(BackboneRegistry& registry);
void register_digit_metrics(MetricRegistry& registry);
void register_fvd(MetricRegistry& registry);
void register_transformers(BackboneRegistry& registry);

}  // namespace thaw::video
