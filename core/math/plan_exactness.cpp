// Solvers on predictions that are given functions of the level: the probability-flow equation dy / dlambda = D - y,
// y = x / alpha, is then a quadrature and has closed solutions.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/math/plan_probes.h"

namespace thaw {
namespace {

/// A problem whose solution y is known, with the denoiser in units of y: D(y, lambda).
struct Problem {
  std::function<double(double lambda)> solution;
  std::function<double(double y, double lambda)> data;
};

// The prediction is f(lambda) whatever the state: as data, or as noise, eps = (y - D) / rho.
Problem given_data(std::function<double(double)> solution, std::function<double(double)> f) {
  return {std::move(solution), [f = std::move(f)](double, double lambda) { return f(lambda); }};
}
Problem given_noise(std::function<double(double)> solution, std::function<double(double)> f) {
  return {std::move(solution),
          [f = std::move(f)](double y, double lambda) { return y - std::exp(-lambda) * f(lambda); }};
}

// sum_j sign^j k! / (k - j)! lambda^(k - j): solves q' + q = lambda^k for sign -1, q - q' = lambda^k for sign +1.
double repeated_derivatives(int k, double lambda, double sign) {
  double sum = 0.0, factor = 1.0;
  for (int j = 0; j <= k; ++j) {
    sum += factor * std::pow(lambda, k - j);
    factor *= sign * (k - j);
  }
  return sum;
}

struct Family {
  const char* name;
  Problem (*problem)(int k);
};

// Each with a share of the homogeneous solution y = rho (data) or y = 1 (noise), which every solver must keep.
constexpr std::array<Family, 4> kFamilies{{
    {"data in lambda",
     [](int k) {
       return given_data([k](double l) { return repeated_derivatives(k, l, -1.0) + 0.7 * std::exp(-l); },
                         [k](double l) { return std::pow(l, k); });
     }},
    {"noise in lambda",
     [](int k) {
       return given_noise([k](double l) { return std::exp(-l) * repeated_derivatives(k, l, 1.0) + 0.7; },
                          [k](double l) { return std::pow(l, k); });
     }},
    {"noise in rho",
     [](int k) {
       return given_noise([k](double l) { return std::exp(-(k + 1) * l) / (k + 1) + 0.7; },
                          [k](double l) { return std::exp(-k * l); });
     }},
    {"data in rho",
     [](int k) {
       // (y / rho)' = -D / rho^2
       return given_data(
           [k](double l) { return (k == 1 ? std::exp(-l) * l : std::exp(-k * l) / (1 - k)) + 0.7 * std::exp(-l); },
           [k](double l) { return std::exp(-k * l); });
     }},
}};

// Two phases of a cosine as data and as noise; several, because the error of one may pass through 0.
std::vector<Problem> smooth_problems() {
  constexpr double a = 1.3, scale = 1.0 / (1.0 + a * a);
  std::vector<Problem> problems;
  for (const double phase : {0.0, 1.0}) {
    const auto f = [phase](double l) { return std::cos(a * l + phase); };
    const auto g = [phase](double l) { return a * std::sin(a * l + phase); };
    problems.push_back(given_data([f, g](double l) { return scale * (f(l) + g(l)) + 0.5 * std::exp(-l); }, f));
    problems.push_back(given_noise([f, g](double l) { return scale * std::exp(-l) * (f(l) - g(l)) + 0.5; }, f));
  }
  return problems;
}

/// Relative errors of y at the marks after each step, the state being exact up to the first `exact_steps` of them.
/// A method with a corrector is judged by what it has corrected.
std::vector<double> mark_errors(const Plan& plan, const Problem& problem, const Level& exact_until) {
  std::vector<double> registers(plan.num_registers, 0.0);
  registers[plan.input.id] = plan.start.alpha * problem.solution(plan.start.lambda());
  std::vector<double> at_steps, corrected;
  for (const Instruction& instruction : plan.program) {
    if (const auto* e = std::get_if<Evaluate>(&instruction)) {
      const double d = problem.data(registers[e->src.id] / e->level.alpha, e->level.lambda());
      for (const Output& output : e->outputs) registers[output.dst.id] = d;
    } else if (const auto* c = std::get_if<Combine>(&instruction)) {
      double sum = 0.0;
      for (const Term& term : c->terms) sum += term.weight * registers[term.reg.id];
      registers[c->dst.id] = sum;
    } else {
      const Mark& mark = std::get<Mark>(instruction);
      if (mark.kind == MarkKind::kNoised) continue;
      double& x = registers[mark.reg.id];
      const double y = problem.solution(mark.level.lambda());
      const double error = std::abs(x / mark.level.alpha - y) / std::max(1.0, std::abs(y));
      (mark.kind == MarkKind::kCorrected ? corrected : at_steps).push_back(error);
      if (mark.level.lambda() <= exact_until.lambda()) x = mark.level.alpha * y;
    }
  }
  return corrected.empty() ? at_steps : corrected;
}

// The smallest of three errors in a row, the middle one at step `at`: where a cycle of up to three steps is complete.
double error_near(const std::vector<double>& errors, std::size_t at) {
  if (errors.size() < at + 2) return std::numeric_limits<double>::quiet_NaN();
  return std::min({errors[at - 1], errors[at], errors[at + 1]});
}

}  // namespace

Exactness exactness(const PlanMaker& solver) {
  constexpr int kSteps = 20, kExact = 7, kJudged = 12, kMaxDegree = 6;
  const Grid grid = uneven_grid(variance_exploding(), kSteps, false);
  const Plan plan = solver(grid);
  Exactness best;
  for (const Family& family : kFamilies)
    for (int k = 0; k <= kMaxDegree; ++k) {
      if (!(error_near(mark_errors(plan, family.problem(k), grid[kExact]), kJudged) < 1e-11)) break;
      if (k > best.degree) best = {k, family.name};
    }
  return best;
}

double prescribed_order(const PlanMaker& solver) {
  std::vector<double> steps, errors;
  for (const int n : {48, 96, 192}) {
    std::vector<Level> levels;
    for (int i = 0; i <= n; ++i) {
      const double share = static_cast<double>(i) / n;
      levels.push_back(variance_exploding().at(-1.5 + 3.0 * share + 0.4 * share * share));
    }
    const Grid grid = make_grid(variance_exploding(), levels);
    const auto quarter = static_cast<std::size_t>(n / 4);
    steps.push_back(n);
    const Plan plan = solver(grid);
    double squares = 0.0;
    for (const Problem& problem : smooth_problems()) {
      const double error = error_near(mark_errors(plan, problem, grid[quarter]), 3 * quarter);
      squares += error * error;
    }
    errors.push_back(std::sqrt(squares));
  }
  return order_slope(steps, errors);
}

}  // namespace thaw
