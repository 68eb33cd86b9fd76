#pragma once
// Clouds as tensors [C, K]: x y z first, then what else is known of each point; and as files.
// N batch, C channels, K points

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/io/mesh.h"

namespace thaw::points {

/// What the channels behind x y z are.
enum class More { kNone, kNormals, kColors };
/// "none", "normals", "colors".
More more_from(const std::string& name);
/// 3 or 6.
std::int64_t channels_of(More more);

/// Vertices of a mesh without triangles as float32 [C, K]; colours as they are in [0, 1]. Throws DataError "where: ..."
/// where normals or colours are wanted and there are none.
at::Tensor cloud_of(const Mesh& cloud, More more, const std::string& where);
/// The other way round; colours are brought into [0, 1]. What is not finite throws NumbersError.
Mesh mesh_of(const at::Tensor& cloud_CK, More more);

/// How clouds are brought to one place and size. The first four see each cloud alone and cannot be undone.
enum class Normalisation {
  kNone,
  kUnitSphere,   // the mean of the points at 0, the farthest of them at distance 1
  kUnitBox,      // the middle of the bounding box at 0, its longest side 2
  kPerShapeStd,  // the mean at 0, the standard deviation of all coordinates 1
  kGlobalStd,    // the same centre and scale for all clouds
};
Normalisation normalisation_from(const std::string& name);

/// Points [N, C, K], of which x y z move; float32. Throws DataError, naming the first cloud, where all points of one
/// are equal or a number is not finite. Not for kGlobalStd, whose numbers are not in the cloud.
at::Tensor normalised(const at::Tensor& points_NCK, Normalisation how);

}  // namespace thaw::points
