#include "core/math/mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace thaw {
namespace {

double normal_tail(double z) {  // P(Z > z), exact in relative terms for z > 0
  return 0.5 * std::erfc(z / std::numbers::sqrt2);
}

}  // namespace

double LineMixture::denoise(double x, const Level& level) const {
  // Shares from differences of log densities: far out every density underflows.
  double largest = -std::numeric_limits<double>::infinity();
  const auto log_share = [&](const Part& part) {
    const double variance = part.data.variance_at(level), gap = x - level.alpha * part.data.mean;
    return std::log(part.weight) - 0.5 * gap * gap / variance - 0.5 * std::log(variance);
  };
  for (const Part& part : parts) largest = std::max(largest, log_share(part));
  double total = 0.0, sum = 0.0;
  for (const Part& part : parts) {
    const double share = std::exp(log_share(part) - largest);
    total += share;
    sum += share * part.data.denoise(x, level);
  }
  return sum / total;
}

LineMixture::Tails LineMixture::tails(double x, const Level& level) const {
  Tails sum;
  for (const Part& part : parts) {
    const double spread = std::sqrt(part.data.variance_at(level));
    const double z = (x - level.alpha * part.data.mean) / spread;
    sum.below += part.weight * normal_tail(-z);
    sum.above += part.weight * normal_tail(z);
    sum.density += part.weight * std::exp(-0.5 * z * z) / (spread * std::sqrt(2.0 * std::numbers::pi));
  }
  return sum;
}

double LineMixture::flow(double x, const Level& from, const Level& to) const {
  const Tails start = tails(x, from);
  const bool is_low = start.below < start.above;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Part& part : parts) {
    const double reach = 40.0 * std::sqrt(part.data.variance_at(to));
    low = std::min(low, to.alpha * part.data.mean - reach);
    high = std::max(high, to.alpha * part.data.mean + reach);
  }
  double guess = 0.5 * (low + high);
  for (int i = 0; i < 200; ++i) {
    const Tails here = tails(guess, to);
    const double excess = is_low ? here.below - start.below : start.above - here.above;
    (excess > 0.0 ? high : low) = guess;
    double next = guess - excess / here.density;
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    if (std::abs(next - guess) <= 1e-16 * std::abs(guess)) return next;
    guess = next;
  }
  return guess;
}

const LineMixture& reference_mixture() {
  static const LineMixture mixture{
      .parts = {{.weight = 0.3, .data = {-1.0, 0.0625}}, {.weight = 0.7, .data = {0.8, 0.16}}}};
  return mixture;
}

std::vector<double> PlaneMixture::denoise(std::span<const double> points, const Level& level) const {
  std::vector<double> result(points.size());
  std::vector<double> logs(parts.size());
  for (std::size_t i = 0; i + 1 < points.size(); i += 2) {
    for (std::size_t k = 0; k < parts.size(); ++k) {
      const double variance = level.alpha * level.alpha * parts[k].variance + level.sigma * level.sigma;
      const double u = points[i] - level.alpha * parts[k].mean[0], v = points[i + 1] - level.alpha * parts[k].mean[1];
      logs[k] = std::log(parts[k].weight) - 0.5 * (u * u + v * v) / variance - std::log(variance);
    }
    const double largest = *std::max_element(logs.begin(), logs.end());
    double total = 0.0, sum[2] = {0.0, 0.0};
    for (std::size_t k = 0; k < parts.size(); ++k) {
      const double share = std::exp(logs[k] - largest);
      total += share;
      for (std::size_t c = 0; c < 2; ++c)
        sum[c] += share * Gaussian{parts[k].mean[c], parts[k].variance}.denoise(points[i + c], level);
    }
    for (std::size_t c = 0; c < 2; ++c) result[i + c] = sum[c] / total;
  }
  return result;
}

std::vector<double> PlaneMixture::flow(std::span<const double> points, const Level& from, const Level& to,
                                       int steps) const {
  // y = x / alpha depends on no path: dy / dlambda = D - y at sigma / alpha = e^-lambda.
  std::vector<double> y(points.begin(), points.end());
  for (double& value : y) value /= from.alpha;
  const double h = (to.lambda() - from.lambda()) / steps;
  const auto slope = [&](const std::vector<double>& at, double lambda) {
    std::vector<double> d = denoise(at, {1.0, std::exp(-lambda)});
    for (std::size_t i = 0; i < d.size(); ++i) d[i] -= at[i];
    return d;
  };
  const auto moved = [&](const std::vector<double>& k, double factor) {
    std::vector<double> result = y;
    for (std::size_t i = 0; i < result.size(); ++i) result[i] += factor * k[i];
    return result;
  };
  for (int i = 0; i < steps; ++i) {
    const double lambda = from.lambda() + i * h;
    const auto k1 = slope(y, lambda), k2 = slope(moved(k1, h / 2), lambda + h / 2);
    const auto k3 = slope(moved(k2, h / 2), lambda + h / 2), k4 = slope(moved(k3, h), lambda + h);
    for (std::size_t j = 0; j < y.size(); ++j) y[j] += h / 6 * (k1[j] + 2 * k2[j] + 2 * k3[j] + k4[j]);
  }
  for (double& value : y) value *= to.alpha;
  return y;
}

const PlaneMixture& reference_plane() {
  static const PlaneMixture plane{.parts = {{.weight = 0.5, .mean = {0.9, 0.2}, .variance = 0.09},
                                            {.weight = 0.3, .mean = {-0.8, 0.7}, .variance = 0.16},
                                            {.weight = 0.2, .mean = {-0.3, -1.1}, .variance = 0.0625}}};
  return plane;
}

}  // namespace thaw
