#pragma once
// One pass over memory for what a solver's step does: out = sum of weighted inputs.

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

namespace thaw {

/// out[i] = weights[0] in[0][i], then fused multiply-adds in the order of the inputs, in T. Weights are rounded to T.
/// At least one input, at most 32.
template <class T>
struct WeightedSum {
  T* out = nullptr;
  std::span<const T* const> in{};
  std::span<const double> weights{};
};

/// At most this many in one pass.
inline constexpr std::size_t kMostSums = 4;

/// One to kMostSums sums of `count` elements in one pass. Inputs may be outputs, their own sum's or another's: an
/// element's inputs are all read before it is written. Threads only where called outside of a parallel region.
template <class T>
void weighted_sums(std::span<const WeightedSum<T>> sums, std::int64_t count);

/// One sum of tensors of one shape and type, into `out`, which is made where it is undefined or does not fit. The
/// kernel runs where all are contiguous float32 or float64 on the CPU and no gradient is wanted; elsewhere the twin.
void weighted_sum_into(at::Tensor& out, std::span<const at::Tensor* const> in, std::span<const double> weights);

/// The ATen twin: differentiable, on any device, into a new tensor.
at::Tensor weighted_sum_aten(std::span<const at::Tensor* const> in, std::span<const double> weights);

/// Whether the kernel takes these tensors.
bool takes_weighted_sum(std::span<const at::Tensor* const> in);

}  // namespace thaw
