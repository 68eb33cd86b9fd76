#include "experiments/published_networks.h"

#include <algorithm>

#include "modalities/audio/published.h"
#include "modalities/images/published.h"
#include "modalities/video/published.h"

namespace thaw {

namespace {

std::string class_of(const std::filesystem::path& folder) {
  return open_published_config(folder, published_class_names()).class_name;
}

bool takes_sounds(const std::filesystem::path& folder) {
  const std::vector<std::string>& names = audio::published_autoencoder_names();
  const std::string name = class_of(folder);
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

const PublishedDenoisers& published_denoisers() {
  static const PublishedDenoisers all = [] {
    PublishedDenoisers classes = image::published_denoisers();
    classes.insert(video::published_denoisers().begin(), video::published_denoisers().end());
    classes.insert(audio::published_denoisers().begin(), audio::published_denoisers().end());
    return classes;
  }();
  return all;
}

std::vector<std::string> published_class_names() {
  std::vector<std::string> names = image::published_class_names();
  for (const auto& [name, entry] : published_denoisers())
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  const std::vector<std::string>& more = audio::published_autoencoder_names();
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

bool is_published_autoencoder(const std::filesystem::path& folder) {
  if (published_denoisers().contains(class_of(folder))) return false;
  return takes_sounds(folder) || image::published_kind(folder) == image::PublishedKind::kAutoencoder;
}

PublishedAutoencoder open_published_autoencoder(const std::filesystem::path& folder) {
  if (!takes_sounds(folder)) return {.network = image::open_published_autoencoder(folder)};
  audio::PublishedSoundAutoencoder opened = audio::open_published_autoencoder(folder);
  return {std::move(opened.network), opened.rate_hz};
}

}  // namespace thaw
