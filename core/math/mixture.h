#pragma once
// Gaussian mixtures with everything in closed form: the nonlinear data that solvers are measured on.

#include <array>
#include <span>
#include <vector>

#include "core/math/level.h"
#include "core/math/plan_analysis.h"

namespace thaw {

/// sum_k weight_k N(mean_k, variance_k) on the line; the weights add up to 1.
struct LineMixture {
  struct Part {
    double weight = 1.0;
    Gaussian data{};
  };
  std::vector<Part> parts{};

  /// E[x0 | x] at a level.
  double denoise(double x, const Level& level) const;

  /// Where the probability-flow equation takes x from one level to another, exactly: in one dimension the flow keeps
  /// the distribution function, so that the end is Q_to(F_from(x)).
  ///
  /// The smaller tail is kept, never 1 - p, so that far starts lose no digits; the quantile is found to the last bit
  /// Newton's step can see (1e-14 of the spread where the density is not tiny).
  double flow(double x, const Level& from, const Level& to) const;

 private:
  struct Tails {
    double below = 0.0, above = 0.0, density = 0.0;
  };
  Tails tails(double x, const Level& level) const;
};

/// 0.3 N(-1, 0.25^2) + 0.7 N(0.8, 0.4^2): the mixture of every reference table of this project.
const LineMixture& reference_mixture();

/// Three round Gaussians in the plane: coordinates depend on each other, as they never do on a line.
struct PlaneMixture {
  struct Part {
    double weight = 1.0;
    std::array<double, 2> mean{};
    double variance = 1.0;
  };
  std::vector<Part> parts{};

  /// Of points laid out x0 y0 x1 y1 ...
  std::vector<double> denoise(std::span<const double> points, const Level& level) const;

  /// The probability flow between two levels of one path, integrated in lambda by `steps` classical Runge-Kutta steps:
  /// a reference, not a method of the catalog.
  std::vector<double> flow(std::span<const double> points, const Level& from, const Level& to, int steps) const;
};

const PlaneMixture& reference_plane();

}  // namespace thaw
