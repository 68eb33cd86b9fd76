#pragma once
// Averages of weights whose memory grows with the training, and how to have others of them afterwards.
// Karras et al. 2024 (EDM2), section 3 and appendix C.

#include <span>
#include <vector>

namespace thaw {

/// The exponent gamma of a power-function average whose profile has standard deviation `std`, relative to the
/// training's length: the one positive root of (gamma + 1) = std^2 (gamma + 2)^2 (gamma + 3) (eq. 123). std in (0,
/// 0.2886].
double power_gamma(double std);
/// The other way: sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3))).
double power_std(double gamma);

/// Decay of step t (1 for the first): (1 - 1 / t)^(gamma + 1), eq. 127. 0 at the first: the average begins there.
double power_decay(double gamma, double t);

/// What an average with exponent gamma weighs the weights of time tau by, when it is read at `time`:
/// (gamma + 1) tau^gamma / time^(gamma + 1) for tau <= time.
struct PowerProfile {
  double time = 0.0;
  double gamma = 0.0;
};

/// Weights of `stored` averages whose sum comes nearest to `wanted`, by least squares over profiles (algorithm 3).
/// `mismatch` is the norm of the difference over that of the profile wanted; 0 is exact.
struct Reconstruction {
  std::vector<double> weights;
  double mismatch = 0.0;
};
Reconstruction reconstruct(std::span<const PowerProfile> stored, const PowerProfile& wanted);

}  // namespace thaw
