#include "samplers/adaptive_certificate.h"

#include <cmath>

#include "core/base/text.h"
#include "core/math/gaussian_machine.h"
#include "core/math/host_machine.h"
#include "core/math/mixture.h"

namespace thaw {
namespace {

constexpr int kGridSteps = 20;
constexpr double kLawHolds = 1e-9;

const Gaussian kHalf{.mean = 0.0, .variance = 0.25};
const Gaussian kPoint{.mean = 0.0, .variance = 0.0};

bool has_option(const EntryInfo& info, const std::string& name) {
  for (const Option& option : info.options)
    if (option.name == name) return true;
  return false;
}

std::string with_tolerance(const Variant& variant, double tolerance) {
  const std::string value = format_double(tolerance);
  if (has_option(*variant.info, "rtol"))
    return concat(variant.name, " rtol=", value, " atol=", value, " max_steps=100000");
  if (has_option(*variant.info, "tolerance")) return concat(variant.name, " tolerance=", value);
  return "";
}

std::vector<double> denoise(std::span<const double> x, const Level& level) {
  std::vector<double> d;
  for (const double value : x) d.push_back(reference_mixture().denoise(value, level));
  return d;
}

// What the solver should reach: the flow itself, or for iterations on a grid the steps they are to reproduce.
std::vector<double> target(const SamplerRegistry& registry, const Variant& variant, const Grid& grid,
                           std::span<const double> starts) {
  if (has_option(*variant.info, "tolerance"))
    return run_on_host(make_variant(registry, "ddim").maker(grid), starts, denoise);
  std::vector<double> ends;
  for (const double x : starts) ends.push_back(reference_mixture().flow(x, grid.front(), grid.back()));
  return ends;
}

double rms_gap(std::span<const double> a, std::span<const double> b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

void judge(AdaptiveCertificate& c, const Variant& variant) {
  std::vector<double> tolerances, evaluations, errors;
  for (const AdaptiveRun& run : c.runs) {
    // Iterations that have nothing left to do are exact; the slope ends there.
    if (!(std::abs(run.error) > 1e-12)) continue;
    tolerances.push_back(1.0 / run.tolerance);
    evaluations.push_back(static_cast<double>(run.evaluations));
    errors.push_back(std::abs(run.error));
  }
  if (errors.size() < 2) return;
  c.tolerance_slope = order_slope(tolerances, errors);
  c.evaluation_slope = order_slope(evaluations, errors);
  if (!(c.tolerance_slope >= 0.5))
    c.failures.push_back(concat("tolerance: the error falls with its power ", format_short(c.tolerance_slope, 3)));
  if (!has_option(*variant.info, "rtol") || variant.claims.order == 0 || c.is_stochastic) return;
  if (!(c.evaluation_slope >= variant.claims.order - 1))
    c.failures.push_back(concat("order: claims ", variant.claims.order, ", evaluations buy order ",
                                format_short(c.evaluation_slope, 3)));
}

/// Relative error of the variance at the grid's end, from the exact variance at its start.
double variance_gap(GaussianMachine& machine, const Solver& solver, const Grid& grid, const Gaussian& data) {
  return machine.run(solver.method(grid)) / data.variance_at(grid.back()) - 1.0;
}

double variance_gap(const SamplerRegistry& registry, const std::string& name, const Grid& grid, const Gaussian& data) {
  GaussianMachine machine(data, data.variance_at(grid.front()));
  return variance_gap(machine, make_variant(registry, name).solver, grid, data);
}

// A point keeps its variance under ancestral steps, so that after one step what is seen is the corrections alone. In
// many dimensions one multiplies a variance X V, V the right one, by (1 - 2 snr^2 / X)^2 + 4 snr^2 / X^2.
std::vector<VarianceLaw> langevin_laws(const SamplerRegistry& registry) {
  const Grid grid = probe_grid(variance_exploding(), ProbeGrid::kKarras, kGridSteps);
  const Grid step = make_grid(*grid.path, {grid[9], grid[10]});
  const Plan ancestral = make_variant(registry, "ddim eta=1").maker(grid);
  return {{.statement = "without corrections it is `ddim eta=1`",
           .measured = variance_gap(registry, "langevin_pc corrections=0", grid, kHalf),
           .exact = variance_error(ancestral, kHalf)},
          {.statement = "one correction of the right variance leaves 4 snr^4 too much",
           .measured = variance_gap(registry, "langevin_pc", step, kPoint),
           .exact = 4.0 * std::pow(0.16, 4)},
          {.statement = "corrections alone tend to snr^2 too much",
           .measured = variance_gap(registry, "langevin_pc snr=0.5 corrections=100", step, kPoint),
           .exact = 0.25}};
}

void measure_by_steps(AdaptiveCertificate& c, const SamplerRegistry& registry, const Variant& variant) {
  for (const int steps : {10, 50, 250}) {
    const Grid grid = probe_grid(variance_exploding(), ProbeGrid::kKarras, steps);
    GaussianMachine machine(kHalf, kHalf.variance_at(grid.front()));
    const double error = variance_gap(machine, variant.solver, grid, kHalf);
    c.is_stochastic = c.is_stochastic || machine.has_drawn();
    c.by_steps.push_back({.steps = steps, .evaluations = machine.evaluations(), .error = error});
    const std::int64_t claimed = variant.claims.evaluations_per_step * steps + variant.claims.extra_evaluations;
    if (machine.evaluations() != claimed)
      c.failures.push_back(
          concat("evaluations: claims ", claimed, " for ", steps, " steps, makes ", machine.evaluations()));
  }
  if (variant.sampler == "langevin_pc") c.laws = langevin_laws(registry);
  for (const VarianceLaw& law : c.laws)
    if (!law.holds())
      c.failures.push_back(concat("variance: ", law.statement, ": ", format_short(law.exact, 6), ", measured ",
                                  format_short(law.measured, 6)));
}

AdaptiveRun run_on_mixture(const Variant& own, const Grid& grid, double tolerance, std::span<const double> starts,
                           std::span<const double> exact) {
  HostMachine machine(starts, 1, denoise);
  const double error = rms_gap(machine.run(own.solver.method(grid)), exact);
  return {.tolerance = tolerance, .evaluations = machine.evaluations(), .error = error};
}

AdaptiveRun run_on_gaussian(const Variant& own, const Grid& grid, double tolerance) {
  GaussianMachine machine(kHalf, kHalf.variance_at(grid.front()));
  const double error = variance_gap(machine, own.solver, grid, kHalf);
  return {.tolerance = tolerance, .evaluations = machine.evaluations(), .error = error};
}

bool draws_noise(const Variant& variant, const Grid& grid) {
  GaussianMachine machine(kHalf, kHalf.variance_at(grid.front()));
  machine.run(variant.solver.method(grid));
  return machine.has_drawn();
}

}  // namespace

bool VarianceLaw::holds() const {
  return std::abs(measured - exact) <= kLawHolds;
}

AdaptiveCertificate certify_adaptive(const SamplerRegistry& registry, const Variant& variant) {
  AdaptiveCertificate c;
  if (with_tolerance(variant, 0.1).empty()) {
    measure_by_steps(c, registry, variant);
    return c;
  }
  const Grid grid = probe_grid(variance_exploding(), ProbeGrid::kKarras, kGridSteps);
  c.is_stochastic = draws_noise(variant, grid);
  std::vector<double> starts;
  for (const double q : {-2.0, -1.5, -0.6, 0.3, 1.2, 2.0}) starts.push_back(grid.front().sigma * q);
  const std::vector<double> exact = target(registry, variant, grid, starts);
  for (const double tolerance : {1e-2, 1e-3, 1e-4, 1e-5, 1e-6}) {
    const Variant own = make_variant(registry, with_tolerance(variant, tolerance));
    c.runs.push_back(c.is_stochastic ? run_on_gaussian(own, grid, tolerance)
                                     : run_on_mixture(own, grid, tolerance, starts, exact));
  }
  judge(c, variant);
  return c;
}

}  // namespace thaw
