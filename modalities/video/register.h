#pragma once
// Video as a modality: clips, uint8 [C, T, H, W].

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/given.h"
#include "core/metrics/metric.h"

namespace thaw::video {

void register_video(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones,
                    MetricRegistry& metrics);

/// Adds continuation, in_between and last: which frames of a clip are given.
void register_tasks(TaskRegistry& registry);

}  // namespace thaw::video
