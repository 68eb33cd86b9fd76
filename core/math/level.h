#pragma once
// A noise level: x = alpha x0 + sigma eps.

#include <cmath>

namespace thaw {

/// Two doubles on the host; everything a sampler or an objective knows about "how noisy".
///
/// lambda is half the log signal-to-noise ratio, ln(alpha / sigma), everywhere in this project (log-SNR is
/// 2 lambda); rho = sigma / alpha is what EDM calls sigma. {1, 0} is clean.
struct Level {
  double alpha = 1.0;
  double sigma = 0.0;

  /// ln(alpha / sigma): +inf at a clean level, -inf where alpha = 0.
  double lambda() const { return std::log(alpha / sigma); }
  /// sigma / alpha: 0 at a clean level, +inf where alpha = 0.
  double rho() const { return sigma / alpha; }
  bool is_clean() const { return sigma == 0.0; }

  bool operator==(const Level&) const = default;
};

}  // namespace thaw
