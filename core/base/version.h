#pragma once
// What this program was built from; written by the build (cmake/WriteVersion.cmake) and compiled into thaw_base.

#include <string_view>

namespace thaw {

/// The project's version, "0.1.0".
std::string_view version();

/// The full commit the sources were at when the program was built, or "" outside a git checkout.
std::string_view git_commit();

/// True when sources differed from that commit at build time: figures of such a build cannot be repeated from it.
bool built_from_changed_sources();

}  // namespace thaw
