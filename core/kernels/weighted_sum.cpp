// GCC 12 vectorises the loops below only at O3. It changes no number: the fused multiply-adds are written out.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#include "core/kernels/weighted_sum.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/ScalarOps.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/threads.h"

namespace thaw {
namespace {

constexpr std::int64_t kPiece = 1 << 18;  // elements that a thread takes at a time
constexpr std::int64_t kChunk = 512;      // elements kept in the first cache between groups of inputs
constexpr std::size_t kGroup = 4;         // inputs summed in one pass
constexpr std::size_t kMostInputs = 32;

// Accumulates into `sum`, which no input overlaps: the caller's output may be one of them.
template <class T, std::size_t K, bool IsFirst>
void add_group(T* __restrict sum, const T* const* in, const T* w, std::int64_t count) {
  const T *a = in[0], *b = K > 1 ? in[1] : a, *c = K > 2 ? in[2] : a, *d = K > 3 ? in[3] : a;
  for (std::int64_t i = 0; i < count; ++i) {
    T total = IsFirst ? w[0] * a[i] : std::fma(w[0], a[i], sum[i]);
    if constexpr (K > 1) total = std::fma(w[1], b[i], total);
    if constexpr (K > 2) total = std::fma(w[2], c[i], total);
    if constexpr (K > 3) total = std::fma(w[3], d[i], total);
    sum[i] = total;
  }
}

template <class T, bool IsFirst>
void add_some(T* sum, const T* const* in, const T* w, std::size_t k, std::int64_t count) {
  switch (k) {
    case 1:
      return add_group<T, 1, IsFirst>(sum, in, w, count);
    case 2:
      return add_group<T, 2, IsFirst>(sum, in, w, count);
    case 3:
      return add_group<T, 3, IsFirst>(sum, in, w, count);
    default:
      return add_group<T, 4, IsFirst>(sum, in, w, count);
  }
}

// A sum whose weights are rounded.
template <class T>
struct Rounded {
  T* out = nullptr;
  std::span<const T* const> in{};
  T weights[kMostInputs]{};
};

template <class T>
void sum_chunk(T* sum, const Rounded<T>& of, std::int64_t first, std::int64_t count) {
  const T* at[kGroup];
  for (std::size_t k = 0; k < of.in.size(); k += kGroup) {
    const std::size_t group = std::min(kGroup, of.in.size() - k);
    for (std::size_t j = 0; j < group; ++j) at[j] = of.in[k + j] + first;
    if (k == 0)
      add_some<T, true>(sum, at, of.weights, group, count);
    else
      add_some<T, false>(sum, at, of.weights + k, group, count);
  }
}

template <class T>
void sum_range(std::span<const Rounded<T>> sums, std::int64_t begin, std::int64_t end) {
  alignas(64) T chunks[kMostSums][kChunk];
  for (std::int64_t first = begin; first < end; first += kChunk) {
    const std::int64_t count = std::min(kChunk, end - first);
    for (std::size_t s = 0; s < sums.size(); ++s) sum_chunk(chunks[s], sums[s], first, count);
    for (std::size_t s = 0; s < sums.size(); ++s) std::copy_n(chunks[s], count, sums[s].out + first);
  }
}

template <class T>
void run_kernel(at::Tensor& out, std::span<const at::Tensor* const> in, std::span<const double> weights) {
  const T* pointers[kMostInputs];
  if (in.size() > kMostInputs) throw Error(ExitCode::kBug, concat("weighted sum of ", in.size(), " tensors"));
  for (std::size_t k = 0; k < in.size(); ++k) pointers[k] = in[k]->const_data_ptr<T>();
  const WeightedSum<T> sum{out.mutable_data_ptr<T>(), std::span<const T* const>(pointers, in.size()), weights};
  weighted_sums<T>({&sum, 1}, out.numel());
}

}  // namespace

template <class T>
void weighted_sums(std::span<const WeightedSum<T>> sums, std::int64_t count) {
  if (sums.empty() || sums.size() > kMostSums) throw Error(ExitCode::kBug, concat(sums.size(), " weighted sums"));
  Rounded<T> rounded[kMostSums];
  for (std::size_t s = 0; s < sums.size(); ++s) {
    const WeightedSum<T>& sum = sums[s];
    if (sum.in.empty() || sum.in.size() != sum.weights.size() || sum.in.size() > kMostInputs)
      throw Error(ExitCode::kBug,
                  concat("weighted sum of ", sum.in.size(), " inputs with ", sum.weights.size(), " weights"));
    rounded[s].out = sum.out;
    rounded[s].in = sum.in;
    for (std::size_t k = 0; k < sum.weights.size(); ++k) rounded[s].weights[k] = static_cast<T>(sum.weights[k]);
  }
  const std::span<const Rounded<T>> ready(rounded, sums.size());
  if (count <= kPiece) return sum_range(ready, 0, count);
  for_each_in_threads((count + kPiece - 1) / kPiece, [&](std::int64_t piece) {
    sum_range(ready, piece * kPiece, std::min(count, (piece + 1) * kPiece));
  });
}

template void weighted_sums<float>(std::span<const WeightedSum<float>>, std::int64_t);
template void weighted_sums<double>(std::span<const WeightedSum<double>>, std::int64_t);

bool takes_weighted_sum(std::span<const at::Tensor* const> in) {
  const at::ScalarType type = in.front()->scalar_type();
  if (type != at::kFloat && type != at::kDouble) return false;
  for (const at::Tensor* tensor : in) {
    if (!tensor->device().is_cpu() || tensor->scalar_type() != type || !tensor->is_contiguous()) return false;
    if (tensor->sizes() != in.front()->sizes()) return false;
    if (tensor->requires_grad() && c10::GradMode::is_enabled()) return false;
  }
  return true;
}

namespace {

// In place where that is allowed: the first product overwrites `out`, so that only the first input may be it.
void sum_by_aten(at::Tensor& out, std::span<const at::Tensor* const> in, std::span<const double> weights) {
  const at::Tensor& first = *in.front();
  bool is_reusable = !c10::GradMode::is_enabled() && out.defined() && out.sizes() == first.sizes() &&
                     out.options().type_equal(first.options()) && out.device() == first.device();
  for (std::size_t k = 1; k < in.size(); ++k) is_reusable = is_reusable && !out.is_alias_of(*in[k]);
  if (!is_reusable) {
    out = weighted_sum_aten(in, weights);
    return;
  }
  at::mul_out(out, first, at::native::wrapped_scalar_tensor(weights.front()));
  for (std::size_t k = 1; k < in.size(); ++k) out.add_(*in[k], weights[k]);
}

}  // namespace

void weighted_sum_into(at::Tensor& out, std::span<const at::Tensor* const> in, std::span<const double> weights) {
  if (!takes_weighted_sum(in)) {
    sum_by_aten(out, in, weights);
    return;
  }
  const at::Tensor& first = *in.front();
  if (!out.defined() || out.scalar_type() != first.scalar_type() || out.sizes() != first.sizes() ||
      !out.device().is_cpu() || !out.is_contiguous())
    out = at::empty_like(first);
  if (first.scalar_type() == at::kFloat)
    run_kernel<float>(out, in, weights);
  else
    run_kernel<double>(out, in, weights);
}

at::Tensor weighted_sum_aten(std::span<const at::Tensor* const> in, std::span<const double> weights) {
  at::Tensor total = *in.front() * weights.front();
  for (std::size_t k = 1; k < in.size(); ++k) total = at::add(total, *in[k], weights[k]);
  return total;
}

}  // namespace thaw
