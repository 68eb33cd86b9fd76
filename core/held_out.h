#pragma once
// Which examples are held out, as a function of names alone: a set that grows keeps its split.

#include <span>
#include <string>

namespace thaw {

/// In [0, 1), of a name alone.
double share_of_name(const std::string& name);

/// Names whose share lies below this are held out. It is `share`, but at least one of several is held out where any
/// are to be, and of a single one all or nothing. `names` may repeat.
double held_out_limit(std::span<const std::string> names, double share);

}  // namespace thaw
