#pragma once
// What pictures bring to the catalog.

#include "core/backbone.h"
#include "core/dataset.h"

namespace thaw::image {

/// Adds the modality's datasets, codecs and backbones.
void register_images(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones);

}  // namespace thaw::image
