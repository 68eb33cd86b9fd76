#pragma once
// Which media libraries the program runs with.

#include <string>

namespace thaw {

/// "libavcodec 59.37.100, libswscale 6.7.100, libsndfile 1.2.0".
std::string media_versions();

}  // namespace thaw
