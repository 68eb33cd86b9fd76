#pragma once
// Certificates of solvers that choose their own steps: error against tolerance and evaluations, by running them.

#include <cstdint>
#include <string>
#include <vector>

#include "samplers/variants.h"

namespace thaw {

struct AdaptiveRun {
  double tolerance = 0.0;
  std::int64_t evaluations = 0;
  double error = 0.0;  // rms on the reference mixture, sigma / alpha 80 -> 0.002, against the exact quantile map;
                       // of Picard iterations against the first-order steps they iterate to; where noise is drawn the
                       // signed relative error of the variance on N(0, 0.25)
};

/// Variance of a method without a tolerance, on N(0, 0.25) and a Karras grid.
struct VarianceRun {
  int steps = 0;
  std::int64_t evaluations = 0;
  double error = 0.0;  // signed, relative
};

/// What is known of a method's variance in closed form.
struct VarianceLaw {
  std::string statement;
  double measured = 0.0, exact = 0.0;
  bool holds() const;  // to 1e-9
};

struct AdaptiveCertificate {
  bool is_stochastic = false;
  std::vector<AdaptiveRun> runs{};  // from loose to tight; empty: it has no tolerance
  double tolerance_slope = 0.0;     // d log |error| / d log tolerance
  double evaluation_slope = 0.0;    // - d log |error| / d log evaluations: the order that is paid for
  std::vector<VarianceRun> by_steps{};
  std::vector<VarianceLaw> laws{};
  std::vector<std::string> failures{};
  bool passes() const { return failures.empty(); }
  bool is_measured() const { return !runs.empty() || !by_steps.empty(); }
};

/// Fails where the error falls by less than the square root of the tolerance; or, of an entry that claims an order and
/// draws nothing, slower than evaluations to the power of that order less 1; where evaluations are not those claimed;
/// and where a law does not hold.
AdaptiveCertificate certify_adaptive(const SamplerRegistry& registry, const Variant& variant);

}  // namespace thaw
