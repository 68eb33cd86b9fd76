#pragma once
// One Brownian motion per (seed, sample, element), on the clock lambda.

#include <cstdint>
#include <span>
#include <vector>

#include "core/math/philox.h"

namespace thaw {

/// lambda is clamped to this range and rounded to the lattice before it is looked up; only the coupling between runs
/// with different steps sees the rounding, a draw has variance 1 exactly.
inline constexpr double kPathLambdaMin = -16.0;
inline constexpr double kPathLambdaMax = 16.0;
inline constexpr int kPathDepth = 20;  // cells of 32 / 2^20 = 3.1e-5

/// Lattice index of a lambda, 0 .. 2^20.
std::uint32_t path_lattice_index(double lambda);

/// out = (W(to) - W(from)) / sqrt(to - from), W being the motion named by key (purpose and draw are ignored).
///
/// Equal intervals give equal numbers, overlapping ones the right covariance, disjoint ones independent numbers; runs
/// of N and 2N steps share one path. Levy's dyadic construction: one normal an element and level of the tree.
/// Throws Error (kBug) when both ends fall on one lattice point.
void fill_path_increment(std::span<float> out, const NoiseKey& key, double from, double to);

/// The same numbers at about half the cost when each interval starts where the last one ended.
class PathNoise {
 public:
  /// One sample (and one tensor of it). Keeps two doubles an element.
  PathNoise(const NoiseKey& key, std::size_t num_elements);

  /// out.size() must be num_elements.
  void fill(std::span<float> out, double from, double to);

 private:
  struct Point {
    bool is_set = false;
    std::uint32_t index = 0;
    std::vector<double> values{};
  };
  const std::vector<double>& at(std::uint32_t index, const std::vector<double>* keep);
  NoiseKey key_;
  std::size_t num_elements_;
  Point points_[2];
};

}  // namespace thaw
