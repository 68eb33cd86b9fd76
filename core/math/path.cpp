#include "core/math/path.h"

#include <array>
#include <cmath>

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
  PathSlope slope(const Level& level) const override { return {-level.sigma, level.alpha}; }
};

class VarianceExploding final : public Path {
 public:
  std::string name() const override { return "variance_exploding"; }
  Level at(double lambda) const override { return {1.0, std::exp(-lambda)}; }
  PathSlope slope(const Level&) const override { return {0.0, 1.0}; }
  double input_scale(const Level& level) const override { return 1.0 / std::hypot(level.alpha, level.sigma); }
};

class Linear final : public Path {
 public:
  std::string name() const override { return "linear"; }
  Level at(double lambda) const override { return {logistic(lambda), logistic(-lambda)}; }
  PathSlope slope(const Level&) const override { return {-1.0, 1.0}; }
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

std::span<const Path* const> standard_paths() {
  static const std::array<const Path*, 3> paths{&variance_preserving(), &variance_exploding(), &linear_path()};
  return paths;
}

}  // namespace thaw
