#include "modalities/media/versions.h"

#include <sndfile.h>

#include "core/base/text.h"
#include "modalities/media/libav.h"

namespace thaw {

namespace {

std::string libav_version(unsigned version) {
  return concat(version >> 16, ".", version >> 8 & 0xff, ".", version & 0xff);
}

}  // namespace

std::string media_versions() {
  std::string sound = sf_version_string();  // "libsndfile-1.2.0"
  if (const std::size_t dash = sound.find('-'); dash != std::string::npos) sound[dash] = ' ';
  return concat("libavcodec ", libav_version(avcodec_version()), ", libswscale ", libav_version(swscale_version()),
                ", ", sound);
}

}  // namespace thaw
