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

constexpr double kSlopeBand = 0.25;
constexpr double kKept = 1e-9;            // of a point mass, and between paths
constexpr double kRoundingFloor = 1e-12;  // errors below it have no slope
constexpr int kCountedSteps = 20;

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

  std::optional<Plan> make(const Grid& grid) {
    try {
      return with_fixed_variance(solver_(grid), -1.0);
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

// Root mean square at each number of steps over the problems whose error keeps its sign: near a zero of the error a
// slope means nothing.
std::vector<double> window_errors(std::span<const Errors* const> window) {
  std::vector<double> rms(window.size(), 0.0);
  for (std::size_t problem = 0; problem < window.front()->size(); ++problem) {
    const bool is_negative = window.front()->at(problem) < 0.0;
    if (std::any_of(window.begin(), window.end(), [&](auto* e) { return ((*e)[problem] < 0.0) != is_negative; }))
      continue;
    for (std::size_t i = 0; i < window.size(); ++i) rms[i] = std::hypot(rms[i], (*window[i])[problem]);
  }
  return rms;
}

// Slopes over three doublings from each first number of steps; the one nearest to the claim, the last without a claim.
// Coarse windows are not asymptotic yet; fine ones see the low order of a multistep method's first and last steps, or
// rounding. A method that has not the order shows it in none.
double slope_of(Bench& bench, const Path& path, ProbeGrid kind, const Certificate& c, const Measure& measure) {
  std::map<int, Errors> known;
  const auto errors_at = [&](int n) -> const Errors* {
    if (const auto found = known.find(n); found != known.end()) return &found->second;
    const Plan* plan = bench.plan(path, kind, n);
    return plan == nullptr ? nullptr : &(known[n] = measure(*plan));
  };
  double best = kNotMeasured;
  for (const int first : c.is_stochastic ? std::vector{128, 256} : std::vector{64, 128, 256, 512, 32, 16}) {
    // The finest only where the others do not agree, the coarse ones only where those are rounding.
    const bool agrees = c.claims.order == 0 ? !std::isnan(best) : std::abs(best - c.claims.order) <= kSlopeBand;
    if (first == 512 && agrees) continue;
    if (first < 64 && !std::isnan(best)) break;
    const double steps[] = {1.0 * first, 2.0 * first, 4.0 * first};
    const Errors* const window[] = {errors_at(first), errors_at(2 * first), errors_at(4 * first)};
    if (std::find(std::begin(window), std::end(window), nullptr) != std::end(window)) return kNotMeasured;
    const std::vector<double> rms = window_errors(window);
    if (!(*std::min_element(rms.begin(), rms.end()) > kRoundingFloor)) continue;
    const double slope = order_slope(steps, rms);
    const bool is_nearer = std::abs(slope - c.claims.order) < std::abs(best - c.claims.order);
    if (std::isnan(best) || c.claims.order == 0 || is_nearer) best = slope;
  }
  return best;
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
      for (const int steps : {kCountedSteps, 64, 128, 256, 512, 1024})
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
  for (const Path* path : measured_paths(c.claims)) {
    MeasuredOrder& o = c.order;
    o.karras = lower_of(o.karras, slope_of(bench, *path, ProbeGrid::kKarras, c, spread));
    o.uniform_lambda = lower_of(o.uniform_lambda, slope_of(bench, *path, ProbeGrid::kWideLambda, c, spread));
    if (c.is_stochastic) continue;
    o.line_mixture = lower_of(o.line_mixture, slope_of(bench, *path, ProbeGrid::kKarras, c, line));
  }
  if (c.is_stochastic) return;
  c.order.plane_mixture = slope_of(bench, variance_exploding(), ProbeGrid::kKarras, c, plane);
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
  constexpr int kVarianceSteps[] = {10, 50, 250};
  for (std::size_t i = 0; i < c.variance.size(); ++i)
    if (const Plan* plan = bench.plan(ProbeGrid::kKarras, kVarianceSteps[i]))
      c.variance[i] = variance_error(*plan, kHalf);
  constexpr int kFewSteps[] = {6, 10};
  for (std::size_t i = 0; i < c.stability.size(); ++i)
    if (const Plan* plan = bench.plan(ProbeGrid::kKarras, kFewSteps[i])) c.stability[i] = stability(*plan);
  const Plan* plan = bench.plan(ProbeGrid::kKarras, 100);
  if (plan != nullptr && !c.is_stochastic) c.float32 = float32_error(*plan);
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

void judge_order(Certificate& c) {
  const int claim = c.claims.order;
  if (claim == 0) return;
  const std::pair<const char*, double> slopes[] = {{"a Gaussian, Karras grid", c.order.karras},
                                                   {"a Gaussian, uniform in lambda", c.order.uniform_lambda},
                                                   {"a mixture on the line", c.order.line_mixture},
                                                   {"a mixture in the plane", c.order.plane_mixture}};
  std::vector<std::string> low;
  for (const auto& [problem, slope] : slopes)
    if (slope < claim - kSlopeBand) low.push_back(concat(format_short(slope, 3), " on ", problem));
  if (!low.empty())
    c.failures.push_back(concat("order: claims ", claim, ", measured ", join(low, ", ")));
  else if (!(c.order.lowest() <= claim + kSlopeBand))
    c.failures.push_back(concat("order: claims ", claim, ", the lowest slope is ", format_short(c.order.lowest(), 3)));
  if (c.has_exactness() && c.exactness.degree + 1 < claim && !(c.order.prescribed >= claim - kSlopeBand))
    c.failures.push_back(concat("exactness: claims order ", claim, ", integrates degree ", c.exactness.degree,
                                " exactly, order ", format_short(c.order.prescribed, 3), " on given predictions"));
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
  if (c.is_stochastic) {
    measure_strong_order(bench, c);
  } else if (!c.is_inversion) {
    const PlanMaker resolved = [&](const Grid& grid) { return with_fixed_variance(solver(grid), -1.0); };
    c.exactness = exactness(resolved);
    c.order.prescribed = prescribed_order(resolved);
  }
  judge_counts(c);
  judge_kept(c, "point mass", c.point_mass, claims.breaks_marginals);
  judge_kept(c, "normal forms on three paths", c.path_gap, claims.is_path_bound);
  judge_order(c);
  return c;
}

}  // namespace thaw
