#pragma once
// Distances between two clouds, each under a name of its own, and matrices of them between two sets.

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

namespace thaw::points {

enum class Distance {
  kChamfer,           // mean_i min_j |a_i - b_j|^2 + mean_j min_i |a_i - b_j|^2
  kChamferEuclidean,  // the same of |a_i - b_j|
  kEmdExact,          // the least mean of |a_i - b_s(i)| over one-to-one s
  kEmdExactSquared,   // the same of squares
  kEmdPvd,            // the matching of Fan et al. 2017, its squared distances / N: PVD, LION (PyTorchEMD)
  kEmdPointflow,      // the same matching, its distances / N: PointFlow
  kEmdSinkhorn,       // entropic transport of |a_i - b_j|, rounded to a plan: never below kEmdExact
};

/// "cd", "cd_euclidean", "emd_exact", "emd_exact_squared", "emd_pvd", "emd_pointflow", "emd_sinkhorn".
const char* name_of(Distance distance);
/// Formula and source, for labels.
const char* formula_of(Distance distance);

struct SinkhornOptions {
  double epsilon = 0.01;  // of the entropy, as a share of the mean distance
  std::int64_t iterations = 200;
};

/// float32 [3, n] and [3, m] of finite numbers. Throws DataError where an exact assignment is asked of clouds of
/// different sizes.
double distance_between(const at::Tensor& a_3n, const at::Tensor& b_3m, Distance distance);
double sinkhorn_distance(const at::Tensor& a_3n, const at::Tensor& b_3m, const SinkhornOptions& options);

/// float32 [N, 3, n] and [M, 3, m] -> float64 [N, M], on all threads. The same tensor twice: half of the work.
at::Tensor distance_matrix(const at::Tensor& a_N3n, const at::Tensor& b_M3m, Distance distance);

/// 2 p r / (p + r) of the shares p, r of points whose nearest one of the other cloud is nearer than `threshold` by the
/// squared distance (Tatarchenko et al. 2019; 0.001 in the code of AtlasNet, PVD and LION); 0 where both are 0.
double f_score(const at::Tensor& a_3n, const at::Tensor& b_3m, double threshold);

}  // namespace thaw::points
