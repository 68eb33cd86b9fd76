#pragma once
// Convolutional networks in bands of rows: maps of features that are never whole, and norms whose statistics are.
//
// A norm over positions needs all of them before the first of its outputs. So a network runs layer by layer, not tile
// by tile: the first pass over the bands of a map sums what the norm needs, the second normalises, activates and
// convolves each band with the rows that the kernel reaches into. The result is that of the whole map up to rounding;
// what stays in memory is one map a convolution, none of those between. N batch, C channels, H height, W width

#include <functional>

#include "modalities/images/published_blocks.h"

namespace thaw::image {

/// A picture that is asked for rows: a tensor's, or computed each time.
struct RowSource {
  std::int64_t samples = 0, channels = 0, height = 0, width = 0;
  std::function<at::Tensor(std::int64_t begin, std::int64_t end)> rows{};  // [N, C, end - begin, W]
};

RowSource rows_of(at::Tensor x_NCHW);
/// Position by position: `each` keeps shapes.
RowSource mapped(RowSource x, std::function<at::Tensor(const at::Tensor&)> each);
/// Nearest, to double the size.
RowSource doubled(RowSource x);
/// Zeros stand around what `x` gives: conv.padding of them, or one row and column at the end for `downsample`.
RowSource convolved(const nn::Conv2d& conv, RowSource x, bool pads_end = false);
/// Statistics in double over all bands, then x times a factor plus a term, channel by channel.
RowSource normalised(const nn::GroupNorm& norm, RowSource x, std::int64_t positions);

/// All rows, in bands of about `positions`.
at::Tensor computed(const RowSource& x, std::int64_t positions);
/// Without an embedding and of the size of x.
at::Tensor banded(const Resnet& resnet, const RowSource& x, std::int64_t positions);

}  // namespace thaw::image
