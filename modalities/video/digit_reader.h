#pragma once
// Where the digit of a clip is, and what it is, frame by frame.

#include "core/metrics/metric.h"

namespace thaw::video {

/// The centre of gravity of the ink in each frame, (x, y) in pixels from the frame's top left corner, where pixel i
/// covers [i, i + 1): float64 [N, T, 2]; NaN where a frame shows nothing. Ink is what is brighter than a quarter of
/// white, so that a faint haze moves nothing. raw: uint8 [N, 1, T, H, W].
at::Tensor digit_centres(const at::Tensor& raw_NCTHW);

/// The digit in each frame, cut out about its centre and brought to the judge's size as the judge's own pictures are:
/// centred by gravity, a square of `digit_side` pixels as the whole picture. uint8 [N * T, 1, side, side].
at::Tensor digit_pictures(const at::Tensor& raw_NCTHW, const at::Tensor& centres_NT2, std::int64_t digit_side,
                          std::int64_t side);

/// The class the judge names in each frame, int64 [N, T]; -1 where a frame shows nothing.
at::Tensor digit_classes(const at::Tensor& raw_NCTHW, std::int64_t digit_side, const TrainedClassifier& judge);

}  // namespace thaw::video
