#pragma once
// How probable data are under a model: by the probability-flow equation and by the discrete variational bound.

#include <cstdint>
#include <span>
#include <vector>

#include "core/model.h"

namespace thaw {

/// One term of the bound, from a level of a chain to the next cleaner one, or from the cleanest one to the data.
struct BoundStep {
  double pull = 0.0;  // weight of x0 in the step's mean
  double log_small = 0.0, log_large = 0.0;
  bool is_decoder = false;
};
/// Of the decoder, `from` and `to` are the two cleanest levels: its variance is between the last step's and
/// (sigma / alpha)^2 of `to`, as the clipped table of Nichol and Dhariwal's code has it.
BoundStep bound_step(const Level& from, const Level& to, bool is_decoder);

/// Terms of -ln p(x0) <= ..., nats a sample [N], float64, sample n at steps[n]: KL(q || p) of a step, -ln p(x0 | x) of
/// the decoder. `variance` is v of a learned variance; undefined: the small one, and the large one in the decoder.
/// `bin`: width of the bins of quantised data, whose ends reach to infinity at -1 and 1; 0: a density. Ho et al. 2020,
/// eq. 5 and 13; Nichol and Dhariwal 2021, eq. 4 to 7 and 15.
at::Tensor bound_terms(const at::Tensor& x0, const at::Tensor& estimate, const at::Tensor& variance,
                       std::span<const BoundStep> steps, double bin);

/// What of a set of samples is asked about, and the names of their random numbers.
struct LikelihoodInput {
  at::Tensor x0;  // encoded [N, ...]
  Condition condition{};
  std::uint64_t seed = 0;
  std::vector<std::uint64_t> samples{};
};

enum class TraceMethod { kExact, kHutchinson };

struct FlowOptions {
  std::int64_t steps = 32;
  TraceMethod trace = TraceMethod::kHutchinson;
  std::int64_t probes = 1;  // of Hutchinson's estimate, averaged
};

/// ln p(x0) [N], float64, nats: the change of variables along the probability-flow equation from the schedule's
/// cleanest level, whose small noise counts as none, to a standard normal at its noisiest.
///
/// The state is x / |(alpha, sigma)| and the clock lambda, so that dx/dlambda = a (D - a x), a the variance-preserving
/// alpha, is finite everywhere and mild; the classical Runge-Kutta method of order 4 with equal steps of lambda. Exact
/// trace: one product with the Jacobian a dimension; else Rademacher probes, fixed through a solve. Song et al. 2021,
/// eq. 39 and appendix D.2; Grathwohl et al. 2019 (FFJORD), section 3.1.
/// Throws ConfigError for a self-conditioned network, which is no function of the state.
at::Tensor flow_log_density(const Model& model, const LikelihoodInput& input, const FlowOptions& options);

struct BoundOptions {
  /// Of the chain; 0: the schedule's table, or 1000. A table's own length takes its timesteps, any other number equal
  /// steps of lambda: equal steps of time would make the cleanest ones as large as all others together. Such a chain of
  /// quantised data begins where sigma / alpha is a bin, or at the schedule's cleanest level above.
  std::int64_t steps = 0;
  std::int64_t draws = 0;  // of them asked about, one in each stratum; 0: all
  double bin = 0.0;
};

/// Nats a sample [N] each, float64. The bound on -ln p(x0) is their sum; with fewer draws than steps it is so in the
/// mean.
struct Bound {
  at::Tensor prior, steps, decoder;
  at::Tensor total() const;
};
Bound variational_bound(const Model& model, const LikelihoodInput& input, const BoundOptions& options);

/// x0 with uniform noise of the width of a bin, centred: quantised data as a density. Theis et al. 2016, section 3.1.
at::Tensor dequantised(const LikelihoodInput& input, double bin);

/// Of -ln p in nats a sample. Of a density of dequantised data `bin` gives the probability of the bin; 0: the
/// differential entropy as it is, and probabilities.
at::Tensor bits_per_dim(const at::Tensor& nats, std::int64_t dims, double bin);

}  // namespace thaw
