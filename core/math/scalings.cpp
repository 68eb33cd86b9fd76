#include "core/math/scalings.h"

#include <array>
#include <cmath>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {
namespace {

constexpr std::array kAll{Prediction::kNoise,    Prediction::kData,  Prediction::kV,
                          Prediction::kVelocity, Prediction::kScore, Prediction::kEdm};

double square(double x) {
  return x * x;
}

// Determinant of (x, velocity) as a function of (x0, eps).
double wronskian(const PathSlope& slope, const Level& level) {
  return slope.sigma * level.alpha - level.sigma * slope.alpha;
}

// Variance of x when data have standard deviation sigma_data.
double state_variance(const Level& level, double sigma_data) {
  return square(level.sigma) + square(sigma_data * level.alpha);
}

}  // namespace

Scalings scalings(Prediction prediction, const Level& level, const Path& path, double sigma_data) {
  const auto [alpha, sigma] = level;
  const double in = path.input_scale(level);
  switch (prediction) {
    case Prediction::kNoise:
      return {1.0 / alpha, -sigma / alpha, in};
    case Prediction::kData:
      return {0.0, 1.0, in};
    case Prediction::kV: {
      const double norm = square(alpha) + square(sigma);
      return {alpha / norm, -sigma / norm, in};
    }
    case Prediction::kVelocity: {
      const PathSlope slope = path.slope(level);
      const double w = wronskian(slope, level);
      return {slope.sigma / w, -sigma / w, in};
    }
    case Prediction::kScore:
      return {1.0 / alpha, square(sigma) / alpha, in};
    case Prediction::kEdm: {
      // c_skip / alpha, c_out and c_in / alpha of Karras et al. 2022 with rho = sigma / alpha, multiplied out so that
      // alpha = 0 stays finite.
      const double variance = state_variance(level, sigma_data);
      const double scale = std::sqrt(variance);
      return {square(sigma_data) * alpha / variance, sigma * sigma_data / scale, 1.0 / scale};
    }
  }
  throw Error(ExitCode::kBug, "scalings: unknown prediction");
}

TargetWeights target_weights(Prediction prediction, const Level& level, const Path& path, double sigma_data) {
  const auto [alpha, sigma] = level;
  switch (prediction) {
    case Prediction::kNoise:
      return {0.0, 1.0};
    case Prediction::kData:
      return {1.0, 0.0};
    case Prediction::kV:
      return {-sigma, alpha};
    case Prediction::kVelocity: {
      const PathSlope slope = path.slope(level);
      return {slope.alpha, slope.sigma};
    }
    case Prediction::kScore:
      return {0.0, -1.0 / sigma};
    case Prediction::kEdm: {
      const double scale = std::sqrt(state_variance(level, sigma_data));
      return {sigma / (sigma_data * scale), -sigma_data * alpha / scale};
    }
  }
  throw Error(ExitCode::kBug, "target_weights: unknown prediction");
}

bool refuses_alpha_zero(Prediction prediction) {
  return prediction == Prediction::kNoise || prediction == Prediction::kScore;
}

const std::vector<std::string>& prediction_names() {
  static const std::vector<std::string> names{"noise", "data", "v", "velocity", "score", "edm"};
  return names;
}

const std::string& prediction_name(Prediction prediction) {
  return prediction_names()[static_cast<std::size_t>(prediction)];
}

Prediction prediction_from_name(std::string_view name) {
  const std::vector<std::string>& known = prediction_names();
  for (std::size_t i = 0; i < known.size(); ++i)
    if (known[i] == name) return kAll[i];
  throw ConfigError(
      concat("unknown prediction \"", name, "\".", did_you_mean(name, known), " Known: ", join(known, ", "), "."));
}

std::span<const Prediction> all_predictions() {
  return kAll;
}

}  // namespace thaw
