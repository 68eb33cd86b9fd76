#include "core/metrics/distributions.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw {

namespace {

constexpr std::uint32_t kResample = 2;  // draw of Purpose::kEvaluate

void sort_finite(std::vector<double>& numbers, const char* what) {
  if (numbers.empty()) throw DataError(concat(what, ": an empty set has no distribution."));
  const auto bad = std::ranges::find_if(numbers, [](double x) { return !std::isfinite(x); });
  if (bad != numbers.end()) throw DataError(concat(what, ": ", *bad, " is no finite number."));
  std::ranges::sort(numbers);
}

double distance_of_sorted(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0.0, at = std::min(a.front(), b.front());
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    const bool is_next_of_a = j == b.size() || (i < a.size() && a[i] <= b[j]);
    const double next = is_next_of_a ? a[i] : b[j];
    const double apart =
        static_cast<double>(i) / static_cast<double>(a.size()) - static_cast<double>(j) / static_cast<double>(b.size());
    sum += std::abs(apart) * (next - at);
    at = next;
    ++(is_next_of_a ? i : j);
  }
  return sum;
}

}  // namespace

double wasserstein_distance(std::vector<double> a, std::vector<double> b) {
  sort_finite(a, "wasserstein distance");
  sort_finite(b, "wasserstein distance");
  return distance_of_sorted(a, b);
}

Interval wasserstein_interval(const std::vector<double>& a, const std::vector<double>& b, std::uint64_t seed,
                              int resamples) {
  const double value = wasserstein_distance(a, b);
  std::vector<double> other = b, values;
  std::ranges::sort(other);
  for (int r = 0; r < resamples; ++r) {
    const NoiseKey key{seed, Purpose::kEvaluate, static_cast<std::uint64_t>(r), kResample, 0};
    std::vector<double> drawn(a.size());
    for (std::size_t i = 0; i < a.size(); ++i) drawn[i] = a[uniform_integer(key, i, a.size())];
    std::ranges::sort(drawn);
    values.push_back(distance_of_sorted(drawn, other));
  }
  return resampled_interval(value, values);
}

Interval resampled_interval(double value, const std::vector<double>& resampled) {
  const double mean = std::accumulate(resampled.begin(), resampled.end(), 0.0) / static_cast<double>(resampled.size());
  return {std::max(0.0, value + quantile_of(resampled, 0.025) - mean), value + quantile_of(resampled, 0.975) - mean};
}

std::vector<double> list_of(const at::Tensor& values) {
  const at::Tensor dense = values.to(at::kDouble).contiguous();
  return {dense.data_ptr<double>(), dense.data_ptr<double>() + dense.numel()};
}

Precedence precedence(std::vector<double> a, std::vector<double> b) {
  sort_finite(a, "precedence");
  sort_finite(b, "precedence");
  double before = 0.0;
  for (const double x : a) {
    const auto [first, last] = std::ranges::equal_range(b, x);
    before += static_cast<double>(b.end() - last) + 0.5 * static_cast<double>(last - first);
  }
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
  const double share = before / (n * m);
  return {share, (share - 0.5) / std::sqrt((n + m + 1.0) / (12.0 * n * m))};
}

nlohmann::json histograms(const std::string& axis, const std::vector<std::pair<std::string, std::vector<double>>>& sets,
                          int bins) {
  double low = INFINITY, high = -INFINITY;
  for (auto [name, numbers] : sets) {
    sort_finite(numbers, "histogram");
    low = std::min(low, numbers.front());
    high = std::max(high, numbers.back());
  }
  if (high <= low) high = low + std::max(1e-9, 1e-9 * std::abs(low));  // one value in one bin
  nlohmann::json result{{"axis", axis}, {"low", low}, {"high", high}};
  for (const auto& [name, numbers] : sets) {
    std::vector<double> shares(static_cast<std::size_t>(bins), 0.0);
    for (const double x : numbers) {
      const double place = (x - low) / (high - low) * bins;
      shares[static_cast<std::size_t>(std::min(place, bins - 1.0))] += 1.0 / static_cast<double>(numbers.size());
    }
    result[name] = shares;
  }
  return result;
}

double quantile_of(std::vector<double> numbers, double share) {
  sort_finite(numbers, "quantile");
  const double place = share * static_cast<double>(numbers.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, numbers.size() - 1);
  return std::lerp(numbers[below], numbers[above], place - static_cast<double>(below));
}

}  // namespace thaw
