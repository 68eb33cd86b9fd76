#pragma once
// The parts of the modality that register themselves with the catalog; see register_points.

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/metrics/metric.h"

namespace thaw::points {}  // namespace thaw::points
