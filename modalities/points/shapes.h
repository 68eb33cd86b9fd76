#pragma once
// Tables, chairs, lamps, vases and planes by random parameters.

#include <array>
#include <cstdint>

#include "modalities/points/surface_parts.h"

namespace thaw::points {

inline constexpr std::array<const char*, 5> kShapeNames{"table", "chair", "lamp", "vase", "plane"};

/// The surface of one shape; y is up, the front of chairs and planes is towards z, lengths are about those of
/// furniture in metres. A function of (shape, key); key's tensor is taken as it comes.
Surface shape_surface(std::size_t shape, const NoiseKey& key);

}  // namespace thaw::points
