#include "experiments/published_networks.h"

#include "modalities/images/published.h"
#include "modalities/video/published.h"

namespace thaw {

const PublishedDenoisers& published_denoisers() {
  static const PublishedDenoisers all = [] {
    PublishedDenoisers classes = image::published_denoisers();
    classes.insert(video::published_denoisers().begin(), video::published_denoisers().end());
    return classes;
  }();
  return all;
}

}  // namespace thaw
