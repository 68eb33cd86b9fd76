#pragma once
// Steps chosen by their error: one driver for all embedded pairs.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/math/machine.h"
#include "samplers/sampler.h"

namespace thaw {

/// Gains of the controller; error ~ h^order.
struct StepGains {
  double p = 0.0, i = 1.0, d = 0.0;
  double order = 1.0;
  double accept_safety = 0.81;  // a step is taken when it may shrink to no less than this
};

/// Step size control by digital filters: Soderlind 2003, "Digital filters in adaptive time-stepping", with the smooth
/// limiter 1 + atan(f - 1) of Soderlind and Wang 2006, as k-diffusion's DPM-Solver uses it.
class StepController {
 public:
  StepController(double h, const StepGains& gains) : h_(h), gains_(gains) {}
  double h() const { return h_; }
  /// Whether a step with this error norm is good; either way h becomes the next step to try.
  bool accepts(double error);

 private:
  double h_;
  StepGains gains_;
  double inverse_errors_[3] = {0.0, 0.0, 0.0};  // this one, the last two good ones
  bool has_errors_ = false;
};

/// A trial step: the better solution, and its difference from the worse one.
struct Trial {
  Reg x;
  Reg error;
  Reg scale;          // what rtol is relative to, at the end of the step
  Reg next = kNoReg;  // the slope at x, where the pair knows it already
};

/// Two methods of neighbouring orders that share evaluations.
class EmbeddedPair {
 public:
  virtual ~EmbeddedPair() = default;
  /// What a step from (x, s) begins with; one evaluation. Kept when the step is refused.
  virtual Reg slope(Machine& machine, Reg x, const Level& s) const = 0;
  /// From s to t, at lambda above that of s, on the grid's path.
  virtual Trial step(Machine& machine, const Grid& grid, Reg x, Reg slope, const Level& s, const Level& t) const = 0;
  /// Evaluations of a trial beside the slope.
  virtual int evaluations() const = 0;
};

/// Dormand and Prince's 5(4) in lambda or in rho.
std::shared_ptr<const EmbeddedPair> make_dormand_prince(bool is_in_rho);
/// Exponential Runge-Kutta 3(2) in lambda.
std::shared_ptr<const EmbeddedPair> make_exponential_pair();
/// DPM-Solver-12 (order 2) or -23 (order 3).
std::shared_ptr<const EmbeddedPair> make_dpm_pair(int order);

struct AdaptiveOptions {
  std::string name;
  double rtol = 1e-3, atol = 1e-3;  // of x / alpha
  double h_init = 0.05;             // first step in lambda
  std::int64_t max_steps = 1000;    // trials
  std::int64_t max_evaluations = 0;
  StepGains gains{};
  double eta = 0.0;      // share of noise renewed in a step, as an ancestral sampler's
  double s_noise = 1.0;  // inflation of that noise
};

/// From the grid's first level to its last noisy one; into a clean last level one step of first order. The grid's
/// other levels are not used. Errors are those of x / alpha, so that the steps do not depend on the path.
///
/// Throws ConfigError from alpha = 0, NumbersError when max_steps or max_evaluations do not get to the end.
Reg integrate(Machine& machine, const Grid& grid, Reg x, const EmbeddedPair& pair, const AdaptiveOptions& options);

/// rtol, atol, h_init, max_steps, max_evaluations with these defaults.
std::vector<Option> adaptive_options(double rtol, double atol);
AdaptiveOptions read_adaptive(const Settings& settings, std::string name, const StepGains& gains);

/// A solver that integrates by the pair; its limit is max_evaluations where that is given.
Solver make_adaptive(std::shared_ptr<const EmbeddedPair> pair, AdaptiveOptions options);

/// Throws ConfigError `sampler "x": cannot start from alpha = 0, ...` where the grid does.
void expect_signal(const Grid& grid, const std::string& name);

}  // namespace thaw
