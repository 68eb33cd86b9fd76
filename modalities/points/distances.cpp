#include "modalities/points/distances.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/threads.h"
#include "modalities/points/assignment.h"
#include "modalities/points/matching.h"
#include "modalities/points/nearest.h"

namespace thaw::points {

namespace {

template <class Function>
double mean_of(const std::vector<float>& values, const Function& function) {
  double sum = 0.0;
  for (const float value : values) sum += function(static_cast<double>(value));
  return sum / static_cast<double>(values.size());
}

double chamfer(const at::Tensor& a, const at::Tensor& b, bool is_squared) {
  const Nearest nearest = nearest_squared(a, b);
  const auto measure = [is_squared](double squared) { return is_squared ? squared : std::sqrt(squared); };
  return mean_of(nearest.to_b, measure) + mean_of(nearest.to_a, measure);
}

// float32 [n, m].
at::Tensor squared_distances(const at::Tensor& a_3n, const at::Tensor& b_3m) {
  at::Tensor sum = (a_3n[0].unsqueeze(1) - b_3m[0].unsqueeze(0)).square_();
  for (std::int64_t c = 1; c < 3; ++c) sum += (a_3n[c].unsqueeze(1) - b_3m[c].unsqueeze(0)).square_();
  return sum;
}

double exact(const at::Tensor& a, const at::Tensor& b, bool is_squared) {
  const std::int64_t n = a.size(1);
  if (n != b.size(1))
    throw DataError(concat("an exact assignment needs clouds of one size, got ", n, " and ", b.size(1), " points."));
  thread_local Assignment assignment;
  at::Tensor cost = squared_distances(a, b);
  if (!at::isfinite(cost).all().item<bool>())
    throw DataError(
        "an exact assignment needs finite distances: a coordinate is not finite, or points lie too far apart.");
  if (!is_squared) cost.sqrt_();
  assignment.solve({cost.data_ptr<float>(), static_cast<std::size_t>(cost.numel())}, n);
  return assignment.total() / static_cast<double>(n);
}

}  // namespace

const char* name_of(Distance distance) {
  constexpr std::array<const char*, 7> kNames{"cd",      "cd_euclidean",  "emd_exact",   "emd_exact_squared",
                                              "emd_pvd", "emd_pointflow", "emd_sinkhorn"};
  return kNames.at(static_cast<std::size_t>(distance));
}

const char* formula_of(Distance distance) {
  constexpr std::array<const char*, 7> kFormulas{
      "mean_i min_j |a-b|^2 + mean_j min_i |a-b|^2",
      "mean_i min_j |a-b| + mean_j min_i |a-b|",
      "least mean |a-b| over one-to-one matchings, exact",
      "least mean |a-b|^2 over one-to-one matchings, exact",
      "approximate matching of Fan et al. 2017, sum of match |a-b|^2 / N (PyTorchEMD, as in PVD and LION)",
      "approximate matching of Fan et al. 2017, sum of match |a-b| / N (PointFlow)",
      "entropic transport of |a-b|, epsilon 0.01 of the mean distance, 200 rounds, rounded to a plan"};
  return kFormulas.at(static_cast<std::size_t>(distance));
}

double sinkhorn_distance(const at::Tensor& a_3n, const at::Tensor& b_3m, const SinkhornOptions& options) {
  const c10::InferenceMode inference;
  const at::Tensor cost = squared_distances(a_3n, b_3m).to(at::kDouble).sqrt_();
  const double mean = cost.mean().item<double>();
  if (mean == 0.0) return 0.0;
  const auto n = static_cast<double>(a_3n.size(1)), m = static_cast<double>(b_3m.size(1));
  const at::Tensor kernel = cost / (-options.epsilon * mean);  // log K
  at::Tensor f = at::zeros({a_3n.size(1), 1}, at::kDouble), g = at::zeros({1, b_3m.size(1)}, at::kDouble);
  for (std::int64_t i = 0; i < options.iterations; ++i) {
    f = -std::log(n) - at::logsumexp(kernel + g, {1}, true);
    g = -std::log(m) - at::logsumexp(kernel + f, {0}, true);
  }
  // Altschuler et al. 2017, algorithm 2: the nearest plan with the right margins.
  at::Tensor plan = (kernel + f + g).exp();
  plan = plan * (1.0 / n / plan.sum(1, true)).clamp_max(1.0);
  plan = plan * (1.0 / m / plan.sum(0, true)).clamp_max(1.0);
  const at::Tensor row = 1.0 / n - plan.sum(1), column = 1.0 / m - plan.sum(0);
  const double rest = row.sum().item<double>();
  const double missing = rest > 0 ? at::dot(row, at::mv(cost, column)).item<double>() / rest : 0.0;
  return (plan * cost).sum().item<double>() + missing;
}

double distance_between(const at::Tensor& a_3n, const at::Tensor& b_3m, Distance distance) {
  const c10::InferenceMode inference;
  switch (distance) {
    case Distance::kChamfer:
    case Distance::kChamferEuclidean:
      return chamfer(a_3n, b_3m, distance == Distance::kChamfer);
    case Distance::kEmdExact:
    case Distance::kEmdExactSquared:
      return exact(a_3n, b_3m, distance == Distance::kEmdExactSquared);
    case Distance::kEmdPvd:
    case Distance::kEmdPointflow:
      return approximate_match(a_3n, b_3m, distance == Distance::kEmdPvd);
    default:
      return sinkhorn_distance(a_3n, b_3m, {});
  }
}

at::Tensor distance_matrix(const at::Tensor& a_N3n, const at::Tensor& b_M3m, Distance distance) {
  const at::Tensor a = a_N3n.to(at::kFloat).contiguous(), b = b_M3m.to(at::kFloat).contiguous();
  const std::int64_t rows = a.size(0), columns = b.size(0);
  // The matching of Fan et al. is not symmetric, so its lower half is computed like the rest.
  const bool is_half = a_N3n.is_same(b_M3m) && distance != Distance::kEmdPvd && distance != Distance::kEmdPointflow;
  const at::Tensor matrix = at::zeros({rows, columns}, at::kDouble);
  double* out = matrix.data_ptr<double>();
  for_each_in_threads(rows * columns, [&](std::int64_t cell) {
    const std::int64_t i = cell / columns, j = cell % columns;
    if (!is_half || j > i) out[cell] = distance_between(a[i], b[j], distance);
  });
  return is_half ? matrix + matrix.t() : matrix;
}

double f_score(const at::Tensor& a_3n, const at::Tensor& b_3m, double threshold) {
  const Nearest nearest = nearest_squared(a_3n, b_3m);
  const auto within = [threshold](double squared) { return squared < threshold ? 1.0 : 0.0; };
  const double precision = mean_of(nearest.to_b, within), recall = mean_of(nearest.to_a, within);
  return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0.0;
}

}  // namespace thaw::points
