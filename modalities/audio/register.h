#pragma once
// Audio as a modality: sounds, float32 [channels, T] in [-1, 1].

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/metrics/metric.h"

namespace thaw::audio {

void register_audio(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones,
                    MetricRegistry& metrics);

}  // namespace thaw::audio
