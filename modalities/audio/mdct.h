#pragma once
// The modified discrete cosine transform: as many numbers as samples, and exactly invertible.
// N batch, T samples, F frequencies, K frames

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw::audio {

/// Princen and Bradley 1986, with the sine window, orthonormal where frames overlap. Half a frame of zeros before and
/// behind the sound makes K = T / F frames of T samples, from which all samples come back.
class Mdct {
 public:
  explicit Mdct(std::int64_t frequencies);
  /// float32 [N, T] to [N, F, K]. F is even. Throws std::invalid_argument where F does not divide T.
  at::Tensor forward(const at::Tensor& sound_NT) const;
  at::Tensor inverse(const at::Tensor& x_NFK) const;

 private:
  std::int64_t frequencies_;
  at::Tensor window_, basis_;  // [2F], [2F, F]
};

}  // namespace thaw::audio
