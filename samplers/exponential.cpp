#include "samplers/exponential.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/math/phi.h"
#include "samplers/rho.h"

namespace thaw {
namespace {

struct Node {
  Reg prediction;
  double lambda = 0.0;
};

/// x_t = keep x_s + gain sum w_j prediction_j + fresh W.
struct StepParts {
  double keep = 0.0;
  double gain = 0.0;
  double fresh = 0.0;
};

StepParts data_parts(const Level& s, const Level& t, double tau2) {
  const double ratio = t.sigma / s.sigma;
  if (tau2 == 0.0) return {.keep = ratio, .gain = t.alpha, .fresh = 0.0};
  const double h = t.lambda() - s.lambda();
  return {.keep = t.is_clean() ? 0.0 : ratio * std::exp(-tau2 * h),
          .gain = t.alpha,
          .fresh = t.sigma * std::sqrt(-std::expm1(-2.0 * tau2 * h))};
}

StepParts noise_parts(const Level& s, const Level& t, double tau2) {
  // sigma_t e^h = alpha_t rho_s: the limit into the clean level, where e^h is infinite.
  const double h = t.lambda() - s.lambda();
  const double growth = t.is_clean() ? t.alpha * s.rho() : t.sigma * std::sqrt(std::expm1(2.0 * h));
  return {.keep = t.alpha / s.alpha, .gain = (1.0 + tau2) * t.sigma, .fresh = std::sqrt(tau2) * growth};
}

/// Writes the plan; holds what passes from step to step.
class Walk {
 public:
  Walk(const Grid& grid, const ExponentialMultistep& method) : grid_(grid), method_(method), b_(grid) {}

  Plan run() {
    x_ = b_.input();
    for (std::size_t i = 0; i < grid_.steps(); ++i) {
      const Reg data = observe(i);
      // Without signal the predicted noise is x itself and its distance in lambda to the next level infinite.
      if (grid_[i].alpha == 0.0) {
        begin_without_signal(data, i);
      } else {
        const int order = std::min(method_.predictor.at(grid_, i), static_cast<int>(history_.size()));
        base_ = x_;
        x_ = advance(i, std::span<const Node>(history_).first(static_cast<std::size_t>(order)), Role::kAdvance);
      }
      b_.mark(x_, grid_[i + 1]);
    }
    if (method_.predictor.repeats_last_level && corrects(grid_.steps())) observe(grid_.steps());
    return b_.finish(x_);
  }

 private:
  // Asks about the state at level i, corrects it and remembers the prediction. Returns the x0 estimate.
  Reg observe(std::size_t i) {
    const Level& level = grid_[i];
    const Reg data = b_.evaluate(x_, level);
    if (level.alpha == 0.0) return data;
    const bool is_noise = method_.interpolated == Interpolated::kNoise;
    const Reg prediction = is_noise ? b_.combine(rho_slope(x_, data, level), Role::kEps) : data;
    history_.insert(history_.begin(), {prediction, level.lambda()});
    if (corrects(i)) {
      const int wanted = method_.predictor.corrector_at(grid_, i, method_.corrector);
      const int used = std::min(wanted, static_cast<int>(history_.size()));
      x_ = advance(i - 1, std::span<const Node>(history_).first(static_cast<std::size_t>(used)), Role::kCorrect);
      b_.mark(x_, level, MarkKind::kCorrected);
    }
    const auto longest = static_cast<std::size_t>(std::max(method_.predictor.order, method_.corrector));
    if (history_.size() > longest) history_.pop_back();
    return data;
  }

  bool corrects(std::size_t i) const {
    if (method_.corrector == 0 || i == 0 || grid_[i - 1].alpha == 0.0 || grid_[i].is_clean()) return false;
    const auto step = static_cast<std::int64_t>(i - 1);
    return std::find(method_.uncorrected.begin(), method_.uncorrected.end(), step) == method_.uncorrected.end();
  }

  void begin_without_signal(Reg data, std::size_t i) {
    const StepParts parts = data_parts(grid_[i], grid_[i + 1], method_.noise.at(grid_, i));
    x_ = b_.combine(parts.keep * x_ + parts.gain * data, b_.noise(grid_[i], grid_[i + 1], parts.fresh));
  }

  // From the state before step i, with the given predictions.
  Reg advance(std::size_t i, std::span<const Node> used, Role role) {
    const Level &s = grid_[i], &t = grid_[i + 1];
    const bool is_noise = method_.interpolated == Interpolated::kNoise;
    const double tau2 = method_.noise.at(grid_, i);
    const StepParts parts = is_noise ? noise_parts(s, t, tau2) : data_parts(s, t, tau2);
    Expr sum;
    if (t.is_clean()) {  // of order 1; gain * weight is 0 * infinity for noise
      sum += (is_noise ? -(1.0 + tau2) * t.alpha * s.rho() : parts.gain) * used.front().prediction;
    } else {
      std::vector<double> offsets;
      for (const Node& node : used) offsets.push_back(node.lambda - s.lambda());
      const double h = t.lambda() - s.lambda();
      const std::vector<double> weights = method_.rule.weights(offsets, h, is_noise ? -1.0 : 1.0 + tau2);
      for (std::size_t j = 0; j < used.size(); ++j) sum += parts.gain * weights[j] * Expr(used[j].prediction);
    }
    return b_.combine(parts.keep * base_ + sum, b_.noise(s, t, parts.fresh), role);
  }

  const Grid& grid_;
  const ExponentialMultistep& method_;
  Builder b_;
  Reg x_{}, base_{};             // the state, and the one the last step started from
  std::vector<Node> history_{};  // newest first
};

double slope_weight(SlopeRule rule, double exponent) {
  switch (rule) {
    case SlopeRule::kMidpoint:
      return -0.5 * std::expm1(-exponent);
    case SlopeRule::kLinear:
      return 0.5 * exponent;
    case SlopeRule::kExact:
      break;
  }
  return exponent * phi(2, -exponent);
}

// Distance of the shipped weight of the second difference from the exact one, -2 P3 with P3 = -H phi_3(-H): -P3 is
// used in k-diffusion, -(P3 + 1) in diffusers' third-order SDE.
double curvature_fault(CurvatureRule rule, double exponent) {
  const double p3 = -exponent * phi(3, -exponent);
  if (rule == CurvatureRule::kHalved) return p3;
  return rule == CurvatureRule::kWrongSign ? p3 - 1.0 : 0.0;
}

}  // namespace

std::vector<double> ExponentialRule::weights(std::span<const double> offsets, double h, double exponent) const {
  const double whole = exponent * h;
  // In units of h the moments are H k! phi_{k+1}(-H).
  std::vector<double> z, moments;
  double factorial = 1.0;
  for (std::size_t k = 0; k < offsets.size(); ++k) {
    if (k > 1) factorial *= static_cast<double>(k);
    z.push_back(offsets[k] / h);
    moments.push_back(whole * factorial * phi(static_cast<int>(k) + 1, -whole));
  }
  if (offsets.size() == 2) moments[1] = slope_weight(slope, whole);
  std::vector<double> result = interpolation_weights(z, moments);
  if (offsets.size() == 3 && curvature != CurvatureRule::kExact) {
    // Of u^2: ((f_0 - f_1) / r_0 - (f_1 - f_2) / r_1) / (r_0 + r_1), the divided difference.
    const double moment[] = {0.0, 0.0, curvature_fault(curvature, whole)};
    const std::vector<double> fault = interpolation_weights(z, moment);
    for (std::size_t j = 0; j < 3; ++j) result[j] += fault[j];
  }
  return result;
}

double NoiseStrength::at(const Grid& grid, std::size_t i) const {
  if (times.empty()) return tau2;
  return grid.times[i] >= times[0] && grid.times[i] <= times[1] ? tau2 : 0.0;
}

Plan exponential_multistep(const Grid& grid, const ExponentialMultistep& method) {
  return Walk(grid, method).run();
}

Solver exponential_solver(ExponentialMultistep method) {
  return [method = std::move(method)](const Grid& grid) { return exponential_multistep(grid, method); };
}

Option noise_strength_option() {
  return {"tau2", 1.0, "squared strength of the noise: 0 is the probability flow, 1 the reverse SDE", 0.0, 100.0};
}

SlopeRule read_slope_rule(const Settings& settings) {
  return settings.text("solver_type") == "midpoint" ? SlopeRule::kMidpoint : SlopeRule::kExact;
}

}  // namespace thaw
