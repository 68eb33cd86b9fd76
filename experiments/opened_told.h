#pragma once
// Models that draw samples of what they are told of them, as a codec's way back.

#include <string>

#include "experiments/catalog.h"

namespace thaw {

/// path: a model directory or finished run whose network is told of its sample (core/told_of_sample.h). It draws with
/// its own sampler, grid, guidance and seed, from one noise for all and for no class, so that a sample depends on what
/// is told of it alone. device, precision: as a configuration names them. Throws DataError for what cannot be read and
/// for other models.
OpenedTold open_told(const std::string& path, const Catalog& catalog, const std::string& device,
                     const std::string& precision);

}  // namespace thaw
