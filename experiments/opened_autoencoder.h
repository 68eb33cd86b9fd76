#pragma once
// Autoencoders that a codec names: trained here, or published.

#include <string>

#include "experiments/catalog.h"

namespace thaw {

/// path: a model directory or finished run of ours, or a folder with diffusers' config.json, whose autoencoder takes
/// pictures or sounds in [-1, 1]. device, precision: as a configuration names them. Its `autoencoder` is null where a
/// model of ours is another kind. Throws DataError for what cannot be read.
OpenedAutoencoder open_autoencoder(const std::string& path, const Catalog& catalog, const std::string& device,
                                   const std::string& precision);

}  // namespace thaw
