#pragma once
// What pictures bring to the catalog.

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/objective.h"

namespace thaw::image {

/// Adds the modality's datasets, codecs, backbones and objectives.
void register_images(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones,
                     ObjectiveRegistry& objectives);

}  // namespace thaw::image
