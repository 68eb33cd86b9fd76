#pragma once
// How far apart the distributions of one number in two sets are.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "core/metrics/frechet.h"

namespace thaw {

/// The 1-Wasserstein distance of two empirical distributions, the area between their distribution functions: in the
/// unit of the numbers, 0 for equal sets, |a - b| for two points (Vallender 1974). Sets may differ in size; throws
/// DataError for an empty one or a number that is not finite.
double wasserstein_distance(std::vector<double> a, std::vector<double> b);

/// Its 95 % interval over resamples of `a`, their bias taken off (as frechet_interval).
Interval wasserstein_interval(const std::vector<double>& a, const std::vector<double>& b, std::uint64_t seed,
                              int resamples = 200);

/// The 95 % interval of a value out of what resamples gave: with their spread, about the value, since draws with
/// repetition lie further away than their set; not below 0.
Interval resampled_interval(double value, const std::vector<double>& resampled);

/// The numbers of a tensor, in order.
std::vector<double> list_of(const at::Tensor& values);

/// The share of pairs (x of a, y of b) with x < y, ties by half: 1/2 where both are drawn from one distribution (Mann
/// and Whitney 1947), and how many of its standard errors under that hypothesis it lies above 1/2 (normal
/// approximation, ties not corrected for). Throws as above.
struct Precedence {
  double share = 0.5, z = 0.0;
};
Precedence precedence(std::vector<double> a, std::vector<double> b);

/// Histograms of several sets over their common range, as "distributions" of metrics.json has them:
/// {"axis": text, "low": left edge, "high": right edge, name of a set: [share in each bin] ...}.
nlohmann::json histograms(const std::string& axis, const std::vector<std::pair<std::string, std::vector<double>>>& sets,
                          int bins = 24);

/// The value below which this share of the numbers lies, 0 <= share <= 1; linear between them.
double quantile_of(std::vector<double> numbers, double share);

}  // namespace thaw
