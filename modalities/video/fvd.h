#pragma once
// Frechet video distance by named protocols.

#include "core/metrics/metric.h"

namespace thaw::video {

/// What a protocol fixes. Counts of 0: every clip there is.
struct FvdProtocol {
  std::string name, source;
  std::int64_t real = 0, generated = 0;
  std::int64_t frames = 16, stride = 1;  // of a clip; between frames of a real clip
  bool mirror = false;                   // real clips count a second time, left and right exchanged
};
const std::vector<FvdProtocol>& fvd_protocols();

/// The clips that a protocol compares, of raw uint8 [N, C, T, H, W]: `count` clips drawn without replacement (all of
/// them for 0), from each `frames` frames `stride` apart; where there are more, they begin at a frame that is drawn.
/// With `mirror` they are drawn from the clips and their mirror images. Functions of the seed alone. Throws DataError
/// where there are too few clips or frames: another number would go by the same name.
at::Tensor fvd_clips(const at::Tensor& raw_NCTHW, std::int64_t count, std::int64_t frames, std::int64_t stride,
                     bool mirror, std::uint64_t seed, const std::string& what);

}  // namespace thaw::video
