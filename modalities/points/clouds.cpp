#include "modalities/points/clouds.h"

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::points {

namespace {

at::Tensor tensor_of(const std::vector<float>& rows) {
  const at::Tensor values = at::empty({static_cast<std::int64_t>(rows.size()) / 3, 3}, at::kFloat);
  std::memcpy(values.data_ptr(), rows.data(), rows.size() * sizeof(float));
  return values.t();
}

std::vector<float> rows_of(const at::Tensor& values_3K) {
  const at::Tensor rows = values_3K.t().contiguous();
  return {rows.data_ptr<float>(), rows.data_ptr<float>() + rows.numel()};
}

// Of each cloud, [N, 1, 1].
at::Tensor extent_of(const at::Tensor& centred_N3K, Normalisation how) {
  switch (how) {
    case Normalisation::kUnitSphere:
      return at::linalg_vector_norm(centred_N3K, 2, at::IntArrayRef{1}, true).amax({2}, true);
    case Normalisation::kUnitBox:
      return centred_N3K.amax({1, 2}, true);
    default:
      return centred_N3K.flatten(1).std(1, false).reshape({-1, 1, 1});
  }
}

}  // namespace

More more_from(const std::string& name) {
  return name == "normals" ? More::kNormals : name == "colors" ? More::kColors : More::kNone;
}

std::int64_t channels_of(More more) {
  return more == More::kNone ? 3 : 6;
}

at::Tensor cloud_of(const Mesh& cloud, More more, const std::string& where) {
  const at::Tensor points = tensor_of(cloud.vertices);
  if (more == More::kNone) return points.contiguous();
  const std::vector<float>& rest = more == More::kNormals ? cloud.normals : cloud.colors;
  if (rest.size() != cloud.vertices.size())
    throw DataError(concat(where, ": has no ", more == More::kNormals ? "normals." : "colours."));
  return at::cat({points, tensor_of(rest)});
}

Mesh mesh_of(const at::Tensor& cloud_CK, More more) {
  const at::Tensor cloud = cloud_CK.detach().to(at::kCPU, at::kFloat);
  if (!at::isfinite(cloud).all().item<bool>()) throw NumbersError("a cloud holds numbers that are not finite.");
  Mesh mesh{.vertices = rows_of(cloud.narrow(0, 0, 3))};
  if (more == More::kNormals) mesh.normals = rows_of(cloud.narrow(0, 3, 3));
  if (more == More::kColors) mesh.colors = rows_of(cloud.narrow(0, 3, 3).clamp(0.0, 1.0));
  return mesh;
}

Normalisation normalisation_from(const std::string& name) {
  if (name == "unit-sphere") return Normalisation::kUnitSphere;
  if (name == "unit-box") return Normalisation::kUnitBox;
  if (name == "per-shape-std") return Normalisation::kPerShapeStd;
  if (name == "global-std") return Normalisation::kGlobalStd;
  return Normalisation::kNone;
}

at::Tensor normalised(const at::Tensor& points_NCK, Normalisation how) {
  const at::Tensor all = points_NCK.to(at::kFloat);
  if (how == Normalisation::kNone) return all;
  const at::Tensor points = all.narrow(1, 0, 3);
  const at::Tensor centre =
      how == Normalisation::kUnitBox ? (points.amax({2}, true) + points.amin({2}, true)) / 2 : points.mean(2, true);
  const at::Tensor centred = points - centre, extent = extent_of(centred, how);
  // A spread below rounding of the coordinates themselves is none.
  const at::Tensor is_flat = (extent > 1e-6 * points.abs().amax({1, 2}, true)).logical_not();
  if (const at::Tensor bad = is_flat.flatten().nonzero(); bad.numel() > 0)
    throw DataError(concat("cloud ", bad[0].item<std::int64_t>(), " of ", points.size(0),
                           ": all its points are equal, or some are not finite; it has no size to be normalised by."));
  const at::Tensor moved = centred / extent;
  return all.size(1) == 3 ? moved : at::cat({moved, all.narrow(1, 3, all.size(1) - 3)}, 1);
}

}  // namespace thaw::points
