#include "core/math/path.h"

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

namespace thaw {
namespace {

// Both shares from their own exponential: 1 - alpha would lose sigma near the clean end.
double logistic(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

class VariancePreserving final : public Path {
 public:
  std::string name() const override { return "variance_preserving"; }
  Level at(double lambda) const override {
    return {std::sqrt(logistic(2.0 * lambda)), std::sqrt(logistic(-2.0 * lambda))};
  }
  Level at_sigma(double sigma) const override { return {std::sqrt((1.0 - sigma) * (1.0 + sigma)), sigma}; }
  PathSlope slope(const Level& level) const override { return {-level.sigma, level.alpha}; }
};

class VarianceExploding final : public Path {
 public:
  std::string name() const override { return "variance_exploding"; }
  Level at(double lambda) const override { return {1.0, std::exp(-lambda)}; }
  Level at_sigma(double sigma) const override { return {1.0, sigma}; }
  double largest_sigma() const override { return std::numeric_limits<double>::infinity(); }
  PathSlope slope(const Level&) const override { return {0.0, 1.0}; }
  double input_scale(const Level& level) const override { return 1.0 / std::hypot(level.alpha, level.sigma); }
};

class Linear final : public Path {
 public:
  std::string name() const override { return "linear"; }
  Level at(double lambda) const override { return {logistic(lambda), logistic(-lambda)}; }
  Level at_sigma(double sigma) const override { return {1.0 - sigma, sigma}; }
  PathSlope slope(const Level&) const override { return {-1.0, 1.0}; }
};

class SubVariancePreserving final : public Path {
 public:
  std::string name() const override { return "sub_variance_preserving"; }
  // The positive root of e^lambda (1 - alpha^2) = alpha, written so that neither end overflows.
  Level at(double lambda) const override {
    const double ratio = std::exp(-lambda);
    return {2.0 / (ratio + std::hypot(ratio, 2.0)), 2.0 / (1.0 + std::hypot(1.0, 2.0 * std::exp(lambda)))};
  }
  Level at_sigma(double sigma) const override { return {std::sqrt(1.0 - sigma), sigma}; }
  PathSlope slope(const Level& level) const override { return {-1.0, 2.0 * level.alpha}; }
};

class Trigonometric final : public Path {
 public:
  explicit Trigonometric(double sigma_data) : sigma_data_(sigma_data) {}
  std::string name() const override { return "trigonometric"; }
  Level at(double lambda) const override {
    const double unit = lambda + std::log(sigma_data_);  // ln(cos t / sin t)
    return {std::sqrt(logistic(2.0 * unit)), sigma_data_ * std::sqrt(logistic(-2.0 * unit))};
  }
  Level at_sigma(double sigma) const override {
    const double sine = sigma / sigma_data_;
    return {std::sqrt((1.0 - sine) * (1.0 + sine)), sigma};
  }
  double largest_sigma() const override { return sigma_data_; }
  PathSlope slope(const Level& level) const override { return {-level.sigma / sigma_data_, sigma_data_ * level.alpha}; }
  double input_scale(const Level&) const override { return 1.0 / sigma_data_; }  // x has the data's spread everywhere

 private:
  double sigma_data_;
};

}  // namespace

double Path::input_scale(const Level&) const {
  return 1.0;
}

const Path& variance_preserving() {
  static const VariancePreserving path;
  return path;
}

const Path& variance_exploding() {
  static const VarianceExploding path;
  return path;
}

const Path& linear_path() {
  static const Linear path;
  return path;
}

const Path& sub_variance_preserving() {
  static const SubVariancePreserving path;
  return path;
}

const Path& trigonometric_path(double sigma_data) {
  // Grids keep plain pointers to their path, so an entry is never erased; a map does not move its elements.
  static std::mutex mutex;
  static std::map<double, Trigonometric> paths;
  const std::lock_guard lock(mutex);
  return paths.try_emplace(sigma_data, sigma_data).first->second;
}

std::span<const Path* const> standard_paths() {
  static const std::array<const Path*, 5> paths{&variance_preserving(), &variance_exploding(), &linear_path(),
                                                &sub_variance_preserving(), &trigonometric_path(0.5)};
  return paths;
}

}  // namespace thaw
