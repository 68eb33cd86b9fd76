#include "modalities/images/register.h"

#include "modalities/images/list.h"

namespace thaw::image {

void register_images(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones) {
  register_datasets(datasets);
  register_captioned_digits(datasets);
  register_codecs(codecs);
  register_backbones(backbones);
  register_autoencoders(backbones);
  register_classifiers(backbones);
}

}  // namespace thaw::image
