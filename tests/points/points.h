#pragma once
// What tests of clouds share.

#include <filesystem>
#include <string>

#include <ATen/ATen.h>

#include "core/dataset.h"
#include "core/math/philox.h"
#include "modalities/points/list.h"
#include "tests/io/scratch.h"

namespace thaw::testing {

inline CodecPtr cloud_codec(const std::string& yaml = "{type: point_cloud}") {
  CodecRegistry registry("codec");
  points::register_codec(registry);
  return registry.create(Config::parse(yaml, "t"), "", CodecParts{});
}

inline DatasetPtr cloud_data(const std::string& yaml) {
  DatasetRegistry registry("dataset");
  points::register_parametric_shapes(registry);
  points::register_mesh_folder(registry);
  points::register_shapenet_points(registry);
  points::register_point_set(registry);
  return registry.create(Config::parse(yaml, "t"), "");
}

/// Normals [N, C, K].
inline at::Tensor random_clouds(at::IntArrayRef shape, std::uint64_t seed = 1) {
  at::Tensor x = at::empty(shape);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther, 0, 0, 0});
  return x;
}

inline double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace thaw::testing
