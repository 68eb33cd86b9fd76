#pragma once
// Video as a modality: clips, uint8 [C, T, H, W].

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/metrics/metric.h"

namespace thaw::video {

void register_video(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones,
                    MetricRegistry& metrics);

}  // namespace thaw::video
