#pragma once
// Sampling that begins from given data or keeps a part of it: picture to picture, inpainting, inversion.

#include <cstdint>
#include <vector>

#include "core/executor.h"
#include "core/math/grid.h"

namespace thaw {

struct Editing {
  at::Tensor known{};  // encoded x0 [N, ...]
  at::Tensor mask{};   // [1 or N, ...], 1 where `known` stays and 0 where it is made anew; undefined: nothing stays
  bool starts_from_known = false;
  double noise_share = 1.0;        // of the start: 0 where the data itself is what is moved (inversion)
  bool keeps_start_noise = false;  // see KnownPart::noise
};

/// The last part of a grid: of n steps the last max(1, floor(strength n)), as image-to-image pipelines of the field
/// count them (Meng et al. 2022, SDEdit).
Grid last_part(const Grid& grid, double strength);

/// Rows of a tensor for the samples [first, first + count), its last one where there are no more; a tensor of one row
/// serves all.
at::Tensor rows_of(const at::Tensor& tensor, std::int64_t first, std::int64_t count, const at::Tensor& like);

/// x [N, C, K, ...] with its positions repeated up to `positions`, one beside the other: position k is floor(k K /
/// positions) of x.
at::Tensor repeated(const at::Tensor& x, std::int64_t positions);

/// What stays of a micro-batch.
struct KnownPart {
  at::Tensor known, mask;
  /// Defined: the known part goes through this noise at every mark and ends as it was, as inpainting pipelines of
  /// diffusers have it; else noise is each mark's own.
  at::Tensor noise{};
  Level end{};  // of the run
};

/// At every mark x <- mask (alpha known + sigma n) + (1 - mask) x: Lugmayr et al. 2022, eq. 8.
Hook keep_known(KnownPart part, NoiseSource& noise);

}  // namespace thaw
