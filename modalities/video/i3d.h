#pragma once
// The network whose features FVD compares: Inception, inflated.

#include <cstdint>
#include <filesystem>
#include <memory>

#include <ATen/core/Tensor.h>

#include "core/nn/parameters.h"

namespace thaw::video {

/// The published network is {1, 7, 400}; others are for tests.
struct I3dShape {
  std::int64_t divisor = 1;    // of the channels of all layers
  std::int64_t pool_side = 7;  // places a side that the last pooling joins
  std::int64_t classes = 400;
};

/// Carreira and Zisserman 2017, figure 3, RGB, batch normalisation folded into the convolutions
/// (tests/peers/convert_i3d.py does so). Padding is TensorFlow's SAME: as much as makes ceil(size / stride) outputs,
/// the odd one behind.
class I3d {
 public:
  explicit I3d(const I3dShape& shape = {});
  ~I3d();

  /// x_NCTHW: float32 in [-1, 1]. float32 [N, classes]: the logits, averaged over time before any softmax; what the
  /// TorchScript of StyleGAN-V returns as features. Throws DataError for clips of too few frames or too small.
  at::Tensor logits(const at::Tensor& x_NCTHW) const;
  const Parameters& parameters() const;

 private:
  struct Layers;
  std::unique_ptr<Layers> layers_;
};

/// uint8 [N, 1 or 3, T, H, W] as I3D takes it: three channels, bilinear to side x side (half-pixel centres, no
/// antialiasing), then to [-1, 1].
at::Tensor i3d_input(const at::Tensor& raw_NCTHW, std::int64_t side = 224);

/// The published network from a file that convert_i3d.py wrote. Throws DataError where it is another file.
std::shared_ptr<const I3d> open_i3d(const std::filesystem::path& path);

}  // namespace thaw::video
