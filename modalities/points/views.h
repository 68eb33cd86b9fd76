#pragma once
// Clouds as someone sees them from one side.

#include <ATen/core/Tensor.h>

#include "core/base/config.h"
#include "core/math/philox.h"

namespace thaw::points {

/// The same points [C, K], those first that are seen from a direction that `key` draws on the sphere, then the others,
/// the nearer ones first: with task `continuation` the beginning of a cloud is a view of it, as from a depth camera.
/// Both kinds keep their order among themselves where depths are equal.
///
/// Seen is what lies, looking along the direction, within two cells' sides of the nearest point in the nine cells
/// around it, of a grid with one cell for every two points: hardly a far point shows between near ones.
at::Tensor seen_first(const at::Tensor& cloud_CK, const NoiseKey& key);

/// order: random | view.
Option order_option();
/// The cloud in the order that the option names.
at::Tensor in_order(const at::Tensor& cloud_CK, const std::string& order, const NoiseKey& key);

}  // namespace thaw::points
