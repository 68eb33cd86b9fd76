#pragma once
// Distance of two feature sets as Gaussians.

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw {

/// |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), Frechet 1957; Heusel et al. 2017 on image features.
///
/// features [n, d]; computed in double, with covariances divided by n - 1 or, as some published protocols have it, n;
/// the root through the symmetric S_a^(1/2) S_b S_a^(1/2), whose eigenvalues are clamped at 0. Its value depends on n:
/// compare equal n only. Throws DataError for n < 2 or unequal d.
enum class CovarianceDivisor { kDegreesOfFreedom, kCount };
double frechet_distance(const at::Tensor& features_a, const at::Tensor& features_b,
                        CovarianceDivisor divisor = CovarianceDivisor::kDegreesOfFreedom);

/// Interval of a value that is a function of n samples, by resampling them with replacement.
struct Interval {
  double low = 0.0, high = 0.0;
};
/// 95 % interval of the distance over resamples of `a`, their bias taken off (Efron and Tibshirani 1993, section 10.2).
Interval frechet_interval(const at::Tensor& features_a, const at::Tensor& features_b, std::uint64_t seed,
                          int resamples = 50, CovarianceDivisor divisor = CovarianceDivisor::kDegreesOfFreedom);

/// 95 % Wilson score interval of a proportion.
Interval proportion_interval(std::int64_t successes, std::int64_t n);

}  // namespace thaw
