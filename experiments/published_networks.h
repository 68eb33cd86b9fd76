#pragma once
// The published networks of all modalities.

#include <filesystem>
#include <string>
#include <vector>

#include "core/autoencoder.h"
#include "core/published_network.h"

namespace thaw {

const PublishedDenoisers& published_denoisers();

/// The values of `_class_name` that are read: denoisers, autoencoders and networks beside them.
std::vector<std::string> published_class_names();

struct PublishedAutoencoder {
  std::unique_ptr<Autoencoder> network{};
  std::int64_t rate_hz = 0;  // of sounds [N, channels, T] in [-1, 1]; 0: takes pictures in [-1, 1]
};
/// Throws DataError.
PublishedAutoencoder open_published_autoencoder(const std::filesystem::path& folder);
/// Whether the folder's `_class_name` is that of an autoencoder. Throws DataError.
bool is_published_autoencoder(const std::filesystem::path& folder);

}  // namespace thaw
