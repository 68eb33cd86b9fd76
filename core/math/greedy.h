#pragma once
// Grids that are optimal for a known data distribution: local errors of Euler steps, and the cheapest way through them.

#include <cstddef>
#include <span>
#include <vector>

#include "core/math/mixture.h"

namespace thaw {

/// Error of one Euler (DDIM) step from ratios[i] to ratios[j], j > i, off the exact trajectory, in units of the data.
///
/// Chen et al. 2024 (GITS), section 4, with the exact trajectory in place of a fine one. Root mean square over 15
/// trajectories, which start at even quantiles of the Gaussian that has the mixture's moments at ratios[0].
///
/// ratios   sigma / alpha, strictly falling; the last may be 0, the clean level
std::vector<std::vector<double>> euler_errors(const LineMixture& data, std::span<const double> ratios);

/// Indices of the way from the first node to the last in exactly `steps` steps whose error is smallest, by dynamic
/// programming: error after a step = growth * error before + cost of the step. steps in [1, nodes - 1].
std::vector<std::size_t> cheapest_path(const std::vector<std::vector<double>>& costs, int steps, double growth = 1.0);

}  // namespace thaw
