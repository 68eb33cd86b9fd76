#include "samplers/adaptive.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"
#include "samplers/first_order.h"

namespace thaw {
namespace {

constexpr double kSliver = 1e-5;  // a rest of lambda shorter than this is part of the step before it

struct Split {
  Level down;          // where the deterministic part of the step ends
  double fresh = 0.0;  // standard deviation of the noise that leads up to t
};

// An ancestral step: the deterministic part ends at the level whose noise is what the fresh noise leaves over, and goes
// no further than the last level (k-diffusion, dpm_solver_adaptive).
Split ancestral(const Grid& grid, const Level& s, const Level& t, const Level& last, double eta) {
  if (eta == 0.0) return {t, 0.0};
  const double to = t.rho(), up = first_order(s, t, eta).fresh / t.alpha;
  const double down = std::max(std::sqrt(to * to - up * up), last.rho());
  return {down > last.rho() ? grid.at_lambda(-std::log(down)) : last,
          t.alpha * std::sqrt(std::max(0.0, to * to - down * down))};
}

/// The state between two steps.
class Integration {
 public:
  Integration(Machine& machine, const Grid& grid, const EmbeddedPair& pair, const AdaptiveOptions& options)
      : machine_(machine),
        grid_(grid),
        pair_(pair),
        options_(options),
        control_(options.h_init, options.gains),
        last_(grid.back().is_clean() ? grid[grid.size() - 2] : grid.back()) {}

  Reg run(Reg x) {
    x_ = scale_ = x;
    level_ = scale_level_ = grid_.front();
    while (level_.lambda() < last_.lambda()) step();
    if (!grid_.back().is_clean()) return x_;
    const Reg d = machine_.evaluate(x_, last_);
    x_ = machine_.combine(grid_.back().alpha * Expr(d));
    machine_.mark(x_, grid_.back());
    return x_;
  }

 private:
  void step() {
    expect_within_limits();
    const double end = level_.lambda() + control_.h();
    const Level t = end > last_.lambda() - kSliver ? last_ : grid_.at_lambda(end);
    const Split split = ancestral(grid_, level_, t, last_, options_.eta);
    if (slope_ == kNoReg) slope_ = pair_.slope(machine_, x_, level_);
    const Trial trial = pair_.step(machine_, grid_, x_, slope_, level_, split.down);
    const double ratio = split.down.alpha / scale_level_.alpha;
    const Reg before = ratio == 1.0 ? scale_ : machine_.combine(ratio * Expr(scale_));
    error_ = machine_.error_norm(trial.error, trial.scale, before, split.down.alpha * options_.atol, options_.rtol);
    ++trials_;
    if (control_.accepts(error_)) advance(trial, split, t);
    machine_.keep_only({x_, slope_, scale_});
  }

  void advance(const Trial& trial, const Split& split, const Level& t) {
    scale_ = trial.scale;
    scale_level_ = split.down;
    slope_ = trial.next;
    x_ = trial.x;
    if (split.fresh > 0.0) {
      x_ = machine_.combine((t.alpha / split.down.alpha) * Expr(trial.x),
                            Builder::noise(level_, t, options_.s_noise * split.fresh));
      slope_ = kNoReg;
    }
    level_ = t;
    if (machine_.mark(x_, t)) slope_ = kNoReg;
  }

  void expect_within_limits() const {
    const std::int64_t next = machine_.evaluations() + pair_.evaluations() + 1;
    const bool is_over = options_.max_evaluations > 0 && next + 1 > options_.max_evaluations;
    if (trials_ < options_.max_steps && !is_over) return;
    const std::string limit =
        is_over ? concat("max_evaluations ", options_.max_evaluations) : concat("max_steps ", options_.max_steps);
    throw NumbersError(concat("sampler \"", options_.name, "\": ", limit, " reached at lambda ", level_.lambda(),
                              " of ", last_.lambda(), " with rtol ", options_.rtol, ", atol ", options_.atol,
                              " (last error ", error_, " of the allowed 1). Raise the limit or the tolerances."));
  }

  Machine& machine_;
  const Grid& grid_;
  const EmbeddedPair& pair_;
  const AdaptiveOptions& options_;
  StepController control_;
  Level last_, level_, scale_level_;
  Reg x_, slope_ = kNoReg, scale_;
  std::int64_t trials_ = 0;
  double error_ = 0.0;
};

}  // namespace

bool StepController::accepts(double error) {
  constexpr double kSmallest = 1e-8;  // keeps 1 / error finite
  const auto limited = [](double factor) { return 1.0 + std::atan(factor - 1.0); };
  if (!std::isfinite(error)) {
    h_ *= limited(0.0);
    return false;
  }
  const double inverse = 1.0 / (error + kSmallest);
  if (!has_errors_) std::fill(std::begin(inverse_errors_), std::end(inverse_errors_), inverse);
  has_errors_ = true;
  inverse_errors_[0] = inverse;
  const auto power = [&](int k, double gain) { return std::pow(inverse_errors_[k], gain / gains_.order); };
  const double factor =
      limited(power(0, gains_.p + gains_.i + gains_.d) * power(1, -(gains_.p + 2.0 * gains_.d)) * power(2, gains_.d));
  h_ *= factor;
  if (factor < gains_.accept_safety) return false;
  inverse_errors_[2] = inverse_errors_[1];
  inverse_errors_[1] = inverse_errors_[0];
  return true;
}

Reg integrate(Machine& machine, const Grid& grid, Reg x, const EmbeddedPair& pair, const AdaptiveOptions& options) {
  expect_signal(grid, options.name);
  return Integration(machine, grid, pair, options).run(x);
}

std::vector<Option> adaptive_options(double rtol, double atol) {
  return {{"rtol", rtol, "error allowed in a step, relative to x / alpha", 1e-13, 1.0},
          {"atol", atol, "error allowed in a step where x / alpha is small", 1e-13, 10.0},
          {"h_init", 0.05, "first step in lambda", 1e-6, 10.0},
          {"max_steps", std::int64_t{1000}, "trial steps before giving up", 1.0, 1e9},
          {"max_evaluations", std::int64_t{0}, "network evaluations before giving up; 0: no limit", 0.0, 1e9}};
}

AdaptiveOptions read_adaptive(const Settings& settings, std::string name, const StepGains& gains) {
  return {.name = std::move(name),
          .rtol = settings.number("rtol"),
          .atol = settings.number("atol"),
          .h_init = settings.number("h_init"),
          .max_steps = settings.integer("max_steps"),
          .max_evaluations = settings.integer("max_evaluations"),
          .gains = gains};
}

Solver make_adaptive(std::shared_ptr<const EmbeddedPair> pair, AdaptiveOptions options) {
  const auto limit = [most = options.max_evaluations](const Grid&) -> std::optional<std::int64_t> {
    if (most == 0) return std::nullopt;
    return most;
  };
  const std::string name = options.name;
  return Solver::adaptive(
      name,
      [pair = std::move(pair), options = std::move(options)](Machine& machine, const Grid& grid, Reg x) {
        return integrate(machine, grid, x, *pair, options);
      },
      limit);
}

void expect_signal(const Grid& grid, const std::string& name) {
  if (grid.front().alpha > 0.0) return;
  throw ConfigError(concat("sampler \"", name,
                           "\": cannot start from alpha = 0, where lambda is infinite. Use ddim, euler or dpmpp_2m, "
                           "or start lower (schedule.t_max below 1)."));
}

}  // namespace thaw
