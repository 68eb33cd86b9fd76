#pragma once
// One pass over memory for what a solver's step does: out = sum of weighted inputs.

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

namespace thaw {

/// out[i] = weights[0] in[0][i], then fused multiply-adds in the order of the inputs, in T. Weights are rounded to T.
/// `out` may be any of the inputs. At least one input. Threads only where called outside of a parallel region.
template <class T>
void weighted_sum(T* out, std::span<const T* const> in, std::span<const double> weights, std::int64_t count);

/// The same on tensors of one shape and type, into `out`, which is made where it is undefined or does not fit. The
/// kernel runs where all are contiguous float32 or float64 on the CPU and no gradient is wanted; elsewhere the twin.
void weighted_sum_into(at::Tensor& out, std::span<const at::Tensor* const> in, std::span<const double> weights);

/// The ATen twin: differentiable, on any device, into a new tensor.
at::Tensor weighted_sum_aten(std::span<const at::Tensor* const> in, std::span<const double> weights);

/// Whether the kernel takes these tensors.
bool takes_weighted_sum(std::span<const at::Tensor* const> in);

}  // namespace thaw
