#include "samplers/adaptive_certificate.h"

#include <cmath>

#include "core/base/text.h"
#include "core/math/host_machine.h"
#include "core/math/mixture.h"

namespace thaw {
namespace {

constexpr int kGridSteps = 20;

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
    if (!(run.error > 1e-12)) continue;
    tolerances.push_back(1.0 / run.tolerance);
    evaluations.push_back(static_cast<double>(run.evaluations));
    errors.push_back(run.error);
  }
  if (errors.size() < 2) return;
  c.tolerance_slope = order_slope(tolerances, errors);
  c.evaluation_slope = order_slope(evaluations, errors);
  if (!(c.tolerance_slope >= 0.5))
    c.failures.push_back(concat("tolerance: the error falls with its power ", format_short(c.tolerance_slope, 3)));
  if (!has_option(*variant.info, "rtol") || variant.claims.order == 0) return;
  if (!(c.evaluation_slope >= variant.claims.order - 1))
    c.failures.push_back(concat("order: claims ", variant.claims.order, ", evaluations buy order ",
                                format_short(c.evaluation_slope, 3)));
}

}  // namespace

AdaptiveCertificate certify_adaptive(const SamplerRegistry& registry, const Variant& variant) {
  AdaptiveCertificate c;
  if (with_tolerance(variant, 0.1).empty()) return c;
  const Grid grid = probe_grid(variance_exploding(), ProbeGrid::kKarras, kGridSteps);
  std::vector<double> starts;
  for (const double q : {-2.0, -1.5, -0.6, 0.3, 1.2, 2.0}) starts.push_back(grid.front().sigma * q);
  const std::vector<double> exact = target(registry, variant, grid, starts);
  for (const double tolerance : {1e-2, 1e-3, 1e-4, 1e-5, 1e-6}) {
    const Variant own = make_variant(registry, with_tolerance(variant, tolerance));
    bool has_drawn = false;
    HostMachine machine(starts, 1, denoise, [&](const Draw&) {
      has_drawn = true;
      return std::vector<double>(starts.size(), 0.0);
    });
    const double error = rms_gap(machine.run(own.solver.method(grid)), exact);
    if (has_drawn) return {};
    c.runs.push_back({.tolerance = tolerance, .evaluations = machine.evaluations(), .error = error});
  }
  judge(c, variant);
  return c;
}

}  // namespace thaw
