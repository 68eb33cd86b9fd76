#pragma once
// Point clouds as a modality: float32 [channels, K], the first three channels x, y, z.

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/metrics/metric.h"

namespace thaw::points {

void register_points(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones,
                     MetricRegistry& metrics);

}  // namespace thaw::points
