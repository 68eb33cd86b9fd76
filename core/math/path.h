#pragma once
// How signal and noise share a level, as a function of lambda alone.

#include <span>
#include <string>

#include "core/math/level.h"

namespace thaw {

/// Derivatives of alpha and sigma along a path's own time: what a velocity is made of.
struct PathSlope {
  double alpha = 0.0;
  double sigma = 0.0;
};

/// lambda -> Level. Paths are stateless constants: compare them by address, keep plain pointers to them.
class Path {
 public:
  virtual ~Path() = default;

  /// "variance_preserving", "variance_exploding", "linear", "sub_variance_preserving" or "trigonometric".
  virtual std::string name() const = 0;

  /// The level with ln(alpha / sigma) = lambda. +inf is the clean level; -inf gives alpha = 0 where the path has it.
  virtual Level at(double lambda) const = 0;

  /// The level whose noise scale is sigma, in [0, largest_sigma()].
  virtual Level at_sigma(double sigma) const = 0;
  /// sigma where no signal is left: +inf on the variance-exploding path.
  virtual double largest_sigma() const { return 1.0; }

  /// d(alpha, sigma) / d(time) in the path's own time: the angle of a variance-preserving level (-sigma, alpha),
  /// sigma of a variance-exploding one (0, 1), t of x = (1 - t) x0 + t eps (-1, 1), the lost signal 1 - alpha of a
  /// sub-variance-preserving one (-1, 2 alpha), the angle of a trigonometric one.
  virtual PathSlope slope(const Level& level) const = 0;

  /// What x is multiplied by before a network that predicts noise, data, v, velocity or score sees it: 1, or the
  /// factor that brings a variance-exploding state to the scale of a variance-preserving one.
  virtual double input_scale(const Level& level) const;
};

/// alpha^2 + sigma^2 = 1.
const Path& variance_preserving();
/// alpha = 1. at(-inf) has sigma = inf: no grid may start there.
const Path& variance_exploding();
/// alpha + sigma = 1, the straight line of flow matching.
const Path& linear_path();
/// sigma = 1 - alpha^2: the sub-VP SDE of Song et al. 2021, eq. 12 and 29.
const Path& sub_variance_preserving();
/// alpha = cos t, sigma = sigma_data sin t: TrigFlow, Lu and Song 2024, section 3, whose noise has the data's spread.
/// One constant for each sigma_data; with 1 its levels are the variance-preserving ones.
const Path& trigonometric_path(double sigma_data);

/// One of each kind, for tests; the trigonometric one has sigma_data 0.5.
std::span<const Path* const> standard_paths();

}  // namespace thaw
