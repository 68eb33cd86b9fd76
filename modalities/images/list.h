#pragma once
// The parts of the modality that register themselves with the catalog; see register_images.

#include "core/backbone.h"
#include "core/dataset.h"

namespace thaw::image {

void register_datasets(DatasetRegistry& registry);
void register_captioned_digits(DatasetRegistry& registry);
void register_codecs(CodecRegistry& registry);
void register_backbones(BackboneRegistry& registry);
void register_autoencoders(BackboneRegistry& registry);
void register_classifiers(BackboneRegistry& registry);

}  // namespace thaw::image
