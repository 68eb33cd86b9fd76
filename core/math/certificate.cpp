#include "core/math/certificate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/mixture.h"

namespace thaw {
namespace {

constexpr double kKept = 1e-9;            // of a point mass, and between paths
constexpr double kRoundingFloor = 1e-12;  // errors below it have no slope
constexpr int kCountedSteps = 20;
constexpr int kVarianceSteps[] = {10, 50, 250};

const Gaussian kHalf{.mean = 0.0, .variance = 0.25};

/// Makes each plan once and remembers what was refused.
class Bench {
 public:
  Bench(const PlanMaker& solver, std::vector<std::string>& refusals) : solver_(solver), refusals_(refusals) {}

  const Plan* plan(const Path& path, ProbeGrid kind, int steps) {
    const auto key = std::tuple(&path, kind, steps);
    const auto known = plans_.find(key);
    if (known != plans_.end()) return known->second ? &*known->second : nullptr;
    std::optional<Plan>& made = plans_[key];
    made = make(probe_grid(path, kind, steps));
    return made ? &*made : nullptr;
  }
  const Plan* plan(ProbeGrid kind, int steps) { return plan(variance_exploding(), kind, steps); }

  std::optional<Plan> make(const Grid& grid, double v = -1.0) {
    try {
      return with_fixed_variance(solver_(grid), v);
    } catch (const ConfigError& error) {
      const std::string text = error.what();
      if (std::find(refusals_.begin(), refusals_.end(), text) == refusals_.end()) refusals_.push_back(text);
      return std::nullopt;
    }
  }

 private:
  const PlanMaker& solver_;
  std::vector<std::string>& refusals_;
  std::map<std::tuple<const Path*, ProbeGrid, int>, std::optional<Plan>> plans_;
};

/// Signed errors on several problems.
using Errors = std::vector<double>;
using Measure = std::function<Errors(const Plan&)>;

// One window for every solver, grid and problem; the claim has no part in it. Below 128 steps slopes are not
// asymptotic, above 1024 the errors of order 4 near rounding and what is left is the low order of a multistep method's
// first steps. Neighbours were looked at: of 162 claims 64 -> 512 contradicts 44, this one 12, 256 -> 2048 11.
constexpr int kWindow[] = {128, 256, 512, 1024};
constexpr int kMostLeftOut = 2;  // of five spreads

struct Slope {
  double value = kNotMeasured;
  int left_out = 0;
};

// Root mean square at each number of steps over the problems whose error keeps its sign: near a zero of the error a
// slope means nothing. One problem alone is never left out: there the size of the error is not signed.
Slope slope_over_window(std::span<const Errors> window) {
  Slope slope;
  std::vector<double> rms(window.size(), 0.0);
  for (std::size_t problem = 0; problem < window.front().size(); ++problem) {
    const bool is_negative = window.front()[problem] < 0.0;
    if (std::any_of(window.begin(), window.end(), [&](auto& e) { return (e[problem] < 0.0) != is_negative; })) {
      ++slope.left_out;
      continue;
    }
    for (std::size_t i = 0; i < window.size(); ++i) rms[i] = std::hypot(rms[i], window[i][problem]);
  }
  // Also false for a NaN.
  if (slope.left_out > kMostLeftOut || !(*std::min_element(rms.begin(), rms.end()) > kRoundingFloor)) return slope;
  const std::vector<double> steps(std::begin(kWindow), std::end(kWindow));
  slope.value = order_slope(steps, rms);
  return slope;
}

Slope slope_of(Bench& bench, const Path& path, ProbeGrid kind, const Measure& measure) {
  std::vector<Errors> window;
  for (const int steps : kWindow) {
    const Plan* plan = bench.plan(path, kind, steps);
    if (plan == nullptr) return {};
    window.push_back(measure(*plan));
  }
  return slope_over_window(window);
}

double lower_of(double a, double b) {
  return std::isnan(a) ? b : std::isnan(b) ? a : std::min(a, b);
}

// A solver bound to its path is measured on all three, and the worst counts: no path is a way out.
std::vector<const Path*> measured_paths(const Claims& claims) {
  if (!claims.is_path_bound) return {&variance_exploding()};
  return {standard_paths().begin(), standard_paths().end()};
}

// Noise within a band of levels may fall between those of a short grid.
bool draws_noise_somewhere(Bench& bench) {
  for (const Path* path : standard_paths())
    for (const ProbeGrid kind : {ProbeGrid::kKarras, ProbeGrid::kWideLambda})
      for (const int steps : {kCountedSteps, 128, 256, 512, 1024})
        if (const Plan* plan = bench.plan(*path, kind, steps); plan != nullptr && draws_noise(*plan)) return true;
  return false;
}

void measure_orders(Bench& bench, Certificate& c) {
  const auto spread = [](const Plan& plan) {
    const auto errors = spread_errors(plan);
    return Errors(errors.begin(), errors.end());
  };
  const auto line = [](const Plan& plan) { return Errors{line_mixture_error(plan)}; };
  const auto plane = [](const Plan& plan) { return Errors{plane_mixture_error(plan)}; };
  MeasuredOrder& o = c.order;
  const auto add = [&](double& worst, const Path& path, ProbeGrid kind, const Measure& measure) {
    const Slope slope = slope_of(bench, path, kind, measure);
    worst = lower_of(worst, slope.value);
    o.left_out += slope.left_out;
    if (std::isnan(slope.value)) ++o.silent;
  };
  for (const Path* path : measured_paths(c.claims)) {
    add(o.karras, *path, ProbeGrid::kKarras, spread);
    add(o.uniform_lambda, *path, ProbeGrid::kWideLambda, spread);
    if (!c.is_stochastic) add(o.line_mixture, *path, ProbeGrid::kKarras, line);
  }
  if (!c.is_stochastic) add(o.plane_mixture, variance_exploding(), ProbeGrid::kKarras, plane);
}

void measure_strong_order(Bench& bench, Certificate& c) {
  const Plan* reference = bench.plan(ProbeGrid::kUniformLambda, 1024);
  if (reference == nullptr) return;
  std::vector<const Plan*> plans;
  const std::vector<double> steps{16, 32, 64, 128};
  for (const double n : steps) plans.push_back(bench.plan(ProbeGrid::kUniformLambda, static_cast<int>(n)));
  const auto has_only_path_noise = [](const Instruction& instruction) {
    const auto* combine = std::get_if<Combine>(&instruction);
    if (combine == nullptr) return true;
    return std::all_of(combine->noise.begin(), combine->noise.end(), [](const auto& t) { return t.draw.is_path; });
  };
  if (!std::all_of(reference->program.begin(), reference->program.end(), has_only_path_noise)) return;
  if (std::find(plans.begin(), plans.end(), nullptr) != plans.end()) return;
  c.order.strong = order_slope(steps, strong_errors(plans, *reference, kHalf));
}

void measure_budgets(Bench& bench, Certificate& c) {
  for (const int budget : {5, 10, 20, 50}) {
    BudgetError entry{.budget = budget};
    // More steps than evaluations never fit; the claim only says where to start looking.
    const int claimed = (budget - c.claims.extra_evaluations) / std::max(1, c.claims.evaluations_per_step);
    for (int steps = std::min(budget, std::max(1, claimed + 3)); steps >= 1; --steps) {
      const Plan* plan = bench.plan(ProbeGrid::kKarras, steps);
      if (plan == nullptr || plan->evaluations() > budget) continue;
      entry.steps = steps;
      entry.spread = spread_error(*plan);
      entry.w2 = gaussian_w2(*plan);
      break;
    }
    c.budgets.push_back(entry);
  }
}

// Rows are compared relative to their largest entry: a weight of 1e5 has no digit at 1e-12.
double largest_weight(const Plan& plan) {
  double largest = 1.0;
  const Tableau tableau = normal_form(plan);
  const auto see = [&](const Row& row) {
    largest = std::max(largest, std::abs(row.on_input));
    for (const double weight : row.on_data) largest = std::max(largest, std::abs(weight));
  };
  for (const Row& row : tableau.inputs) see(row);
  see(tableau.output);
  return largest;
}

void measure_paths(Bench& bench, Certificate& c) {
  c.point_mass = 0.0;
  c.path_gap = 0.0;
  for (const ProbeGrid kind : {ProbeGrid::kKarras, ProbeGrid::kUniformLambda, ProbeGrid::kClean}) {
    std::vector<const Plan*> plans;
    for (const Path* path : standard_paths())
      if (const Plan* plan = bench.plan(*path, kind, 9)) plans.push_back(plan);
    // Data alone have no noise to keep: an inversion that starts clean makes it up.
    for (const Plan* plan : plans)
      if (!plan->start.is_clean()) c.point_mass = std::max(c.point_mass, point_mass_error(*plan));
    for (std::size_t i = 1; i < plans.size(); ++i)
      c.path_gap = std::max(c.path_gap, plan_distance(*plans[0], *plans[i]) / largest_weight(*plans[0]));
  }
}

void measure_arithmetic(Bench& bench, Certificate& c) {
  if (const Plan* plan = bench.plan(ProbeGrid::kKarras, kCountedSteps)) {
    c.evaluations = plan->evaluations();
    c.registers = lower(*plan).num_registers;
    c.amplification = amplification(*plan);
  }
  if (const Plan* plan = bench.plan(ProbeGrid::kClean, kCountedSteps)) {
    c.evaluations_clean = plan->evaluations();
    c.bodies = step_bodies(*plan);
  }
  for (std::size_t i = 0; i < c.variance.size(); ++i)
    if (const Plan* plan = bench.plan(ProbeGrid::kKarras, kVarianceSteps[i]))
      c.variance[i] = variance_error(*plan, kHalf);
  constexpr int kFewSteps[] = {6, 10};
  for (std::size_t i = 0; i < c.stability.size(); ++i)
    if (const Plan* plan = bench.plan(ProbeGrid::kKarras, kFewSteps[i])) c.stability[i] = stability(*plan);
  const Plan* plan = bench.plan(ProbeGrid::kKarras, 100);
  if (plan != nullptr && !c.is_stochastic) c.float32 = float32_error(*plan);
}

bool learns_variance(const Plan& plan) {
  return std::any_of(plan.program.begin(), plan.program.end(), [](const Instruction& instruction) {
    const auto* c = std::get_if<Combine>(&instruction);
    return c != nullptr &&
           std::any_of(c->noise.begin(), c->noise.end(), [](const NoiseTerm& t) { return t.scale != kNoReg; });
  });
}

void measure_learned(Bench& bench, Certificate& c) {
  for (const double v : {-1.0, 0.0, 1.0}) {
    LearnedVariance at{.v = v};
    for (std::size_t i = 0; i < at.variance.size(); ++i) {
      const auto plan = bench.make(probe_grid(variance_exploding(), ProbeGrid::kKarras, kVarianceSteps[i]), v);
      if (!plan) return;
      at.variance[i] = variance_error(*plan, kHalf);
      at.point_mass = std::max(at.point_mass, point_mass_error(*plan));
    }
    c.learned.push_back(at);
  }
  for (std::size_t i = 0; i < std::size(kVarianceSteps); ++i)
    if (!(c.learned[0].variance[i] < c.learned[1].variance[i] && c.learned[1].variance[i] < c.learned[2].variance[i]))
      c.failures.push_back(concat("learned variance: at ", kVarianceSteps[i], " steps its middle, ",
                                  format_short(c.learned[1].variance[i], 3), ", is not between its ends"));
}

void judge_counts(Certificate& c) {
  const std::int64_t claimed = c.claims.evaluations_per_step * kCountedSteps + c.claims.extra_evaluations;
  // Heun++ takes its last two steps with fewer stages.
  const std::int64_t fewest = claimed - 2 * (c.claims.evaluations_per_step - 1);
  if (c.evaluations > claimed || c.evaluations < fewest)
    c.failures.push_back(
        concat("evaluations: claims ", claimed, " for ", kCountedSteps, " steps, makes ", c.evaluations));
  else if (c.evaluations_clean > claimed)
    c.failures.push_back(concat("evaluations: claims ", claimed, " for ", kCountedSteps, " steps, makes ",
                                c.evaluations_clean, " on the way to clean"));
}

// A property that holds below `kept`, against the claim that it does not.
void judge_kept(Certificate& c, const char* what, double measured, bool claims_not) {
  if (!(measured <= kKept) && !claims_not)
    c.failures.push_back(concat(what, ": off by ", format_short(measured, 3), ", and no claim says so"));
  if (measured <= kKept && claims_not)
    c.failures.push_back(concat(what, ": claims to differ, is kept to ", format_short(measured, 3)));
}

std::string named_order(double order) {
  return order == kDiverges ? "diverges" : format_short(order, 3);
}

bool has_order(double lowest, double order) {
  return order == kDiverges ? lowest < 0.0 : std::abs(lowest - order) <= kSlopeBand;
}

/// "1.44 to 1.6, lowest on a Gaussian, Karras grid".
std::string measured_slopes(const MeasuredOrder& o) {
  const std::pair<double, const char*> slopes[] = {{o.karras, "a Gaussian, Karras grid"},
                                                   {o.uniform_lambda, "a Gaussian, uniform in lambda"},
                                                   {o.line_mixture, "a mixture on the line"},
                                                   {o.plane_mixture, "a mixture in the plane"}};
  std::pair<double, const char*> low{kNotMeasured, ""};
  double high = kNotMeasured;
  for (const auto& one : slopes) {
    if (std::isnan(one.first)) continue;
    if (!(low.first <= one.first)) low = one;
    if (!(high >= one.first)) high = one.first;
  }
  if (std::isnan(high)) return "nothing";
  return concat(format_short(low.first, 3), " to ", format_short(high, 3), ", lowest on ", low.second);
}

void judge_order(Certificate& c) {
  const int claim = c.claims.order;
  if (claim == 0) return;
  const bool is_owned = c.claims.owned_order != 0.0;
  const double expected = is_owned ? c.claims.owned_order : claim;
  const double lowest = c.order.lowest();
  if (is_owned && has_order(lowest, claim))
    c.failures.push_back(concat("order: claims ", claim, ", owns up to ", named_order(expected),
                                ", has what it claims: ", measured_slopes(c.order)));
  else if (!has_order(lowest, expected))
    c.failures.push_back(concat("order: ", is_owned ? "owns up to " : "claims ", named_order(expected), ", measured ",
                                measured_slopes(c.order)));
  else if (is_owned)
    c.findings.push_back({"order", concat(claim), measured_slopes(c.order), c.claims.reason});
  if (c.has_exactness() && c.exactness.degree + 1 < expected - kSlopeBand &&
      !(c.order.prescribed >= expected - kSlopeBand))
    c.failures.push_back(concat("exactness: claims order ", named_order(expected), ", integrates degree ",
                                c.exactness.degree, " exactly, order ", format_short(c.order.prescribed, 3),
                                " on given predictions"));
}

// A method of one path alone says so by being bound to it; a method of all of them is taken to keep their marginals.
void find_lost_marginals(Certificate& c) {
  if (c.claims.breaks_marginals && !c.claims.is_path_bound && !c.is_inversion && !(c.point_mass <= kKept))
    c.findings.push_back({"point mass", "kept", concat("moved by ", format_short(c.point_mass, 2)), c.claims.reason});
}

}  // namespace

double MeasuredOrder::lowest() const {
  return lower_of(lower_of(karras, uniform_lambda), lower_of(line_mixture, plane_mixture));
}

Certificate certify(const PlanMaker& solver, const Claims& claims) {
  Certificate c{.claims = claims};
  Bench bench(solver, c.refusals);
  const Plan* plan = bench.plan(ProbeGrid::kKarras, kCountedSteps);
  if (plan == nullptr) {
    c.failures.push_back(concat("no plan: ", c.refusals.front()));
    return c;
  }
  c.is_inversion = is_inversion(*plan);
  c.is_stochastic = draws_noise_somewhere(bench);
  measure_arithmetic(bench, c);
  measure_paths(bench, c);
  measure_orders(bench, c);
  measure_budgets(bench, c);
  if (learns_variance(solver(probe_grid(variance_exploding(), ProbeGrid::kKarras, kCountedSteps))))
    measure_learned(bench, c);
  if (c.is_stochastic) {
    measure_strong_order(bench, c);
  } else if (c.has_exactness()) {
    const PlanMaker resolved = [&](const Grid& grid) { return with_fixed_variance(solver(grid), -1.0); };
    c.exactness = exactness(resolved);
    c.order.prescribed = prescribed_order(resolved);
  }
  judge_counts(c);
  judge_kept(c, "point mass", c.point_mass, claims.breaks_marginals);
  judge_kept(c, "normal forms on three paths", c.path_gap, claims.is_path_bound);
  judge_order(c);
  find_lost_marginals(c);
  return c;
}

}  // namespace thaw
