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
                       // of Picard iterations against the first-order steps they iterate to
};

struct AdaptiveCertificate {
  std::vector<AdaptiveRun> runs{};  // from loose to tight; empty: it has no tolerance, or draws noise
  double tolerance_slope = 0.0;     // d log error / d log tolerance
  double evaluation_slope = 0.0;    // - d log error / d log evaluations: the order that is paid for
  std::vector<std::string> failures{};
  bool passes() const { return failures.empty(); }
};

/// Fails where the error falls by less than the square root of the tolerance, or, of an entry that claims an order,
/// slower than evaluations to the power of that order less 1.
AdaptiveCertificate certify_adaptive(const SamplerRegistry& registry, const Variant& variant);

}  // namespace thaw
