#include "modalities/points/register.h"

#include "modalities/points/list.h"

namespace thaw::points {

void register_points(DatasetRegistry& /*datasets*/, CodecRegistry& /*codecs*/, BackboneRegistry& /*backbones*/,
                     MetricRegistry& /*metrics*/) {}

}  // namespace thaw::points
