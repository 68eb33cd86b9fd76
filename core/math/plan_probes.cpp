#include "core/math/plan_probes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "core/math/mixture.h"
#include "core/math/philox.h"

namespace thaw {
namespace {

constexpr double kRhoMax = 80.0, kRhoMin = 0.002, kWarp = 7.0;
constexpr double kWideRhoMax = 2000.0;

double karras_lambda(double share, double high, double low) {
  const double from = std::pow(high, 1.0 / kWarp), to = std::pow(low, 1.0 / kWarp);
  return -kWarp * std::log(from + share * (to - from));
}

constexpr double kQuantiles[] = {-2.0, -1.5, -1.0, -0.6, -0.5, 0.0, 0.3, 1.2, 2.0};  // of a standard normal

double rms_gap(std::span<const double> a, std::span<const double> b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

std::vector<double> line_starts(const Level& level) {
  // Near the quantiles of the start: exact ones are not needed, the map is.
  const double spread = std::hypot(level.alpha * 0.9, level.sigma);
  std::vector<double> starts;
  for (const double q : kQuantiles) starts.push_back(level.alpha * 0.26 + spread * q);
  return starts;
}

std::vector<double> plane_starts(const Level& level) {
  const double spread = std::hypot(0.8 * level.alpha, level.sigma);
  std::vector<double> starts;
  for (const double u : {-1.3, -0.4, 0.5, 1.4})
    for (const double v : {-1.1, 0.2, 0.9}) {
      starts.push_back(spread * u);
      starts.push_back(spread * v);
    }
  return starts;
}

std::vector<double> run_on_line(const Plan& plan, std::span<const double> starts) {
  return run_on_host(plan, starts, [](std::span<const double> x, const Level& level) {
    std::vector<double> d;
    for (const double value : x) d.push_back(reference_mixture().denoise(value, level));
    return d;
  });
}

// Float32 in states and weights, as an executor has them; sums in the order of the terms.
float run_in_float(const Plan& plan, float x) {
  std::vector<float> registers(plan.num_registers);
  registers[plan.input.id] = x;
  for (const Instruction& instruction : plan.program) {
    if (const auto* e = std::get_if<Evaluate>(&instruction)) {
      const double d = reference_mixture().denoise(double{registers[e->src.id]}, e->level);
      for (const Output& output : e->outputs) registers[output.dst.id] = static_cast<float>(d);
    } else if (const auto* c = std::get_if<Combine>(&instruction)) {
      float sum = 0.0F;
      for (const Term& term : c->terms) sum += static_cast<float>(term.weight) * registers[term.reg.id];
      registers[c->dst.id] = sum;
    }
  }
  return registers[plan.output.id];
}

}  // namespace

Grid probe_grid(const Path& path, ProbeGrid kind, int steps) {
  const int intervals = kind == ProbeGrid::kClean ? steps - 1 : steps;
  std::vector<Level> levels;
  for (int i = 0; i <= intervals; ++i) {
    const double share = intervals == 0 ? 0.0 : static_cast<double>(i) / intervals;
    const bool is_wide = kind == ProbeGrid::kWideLambda;
    if (is_wide || kind == ProbeGrid::kUniformLambda) {
      const double high = is_wide ? kWideRhoMax : kRhoMax;
      levels.push_back(path.at(-std::log(high) + share * std::log(high / kRhoMin)));
    } else {
      levels.push_back(path.at(karras_lambda(share, kRhoMax, kRhoMin)));
    }
  }
  if (kind == ProbeGrid::kClean) levels.push_back({1.0, 0.0});
  return make_grid(path, std::move(levels));
}

Grid with_timesteps(Grid grid) {
  // A millionth of lambda is a timestep: whole numbers, and halves of steps are whole enough.
  constexpr double kPerLambda = 1e6, kLambdaAtZero = 20.0;
  for (std::size_t i = 0; i < grid.size(); ++i)
    grid.times[i] = grid[i].is_clean() ? 0.0 : std::round(kPerLambda * (kLambdaAtZero - grid[i].lambda()));
  grid.at_time = [path = grid.path](double time) { return path->at(kLambdaAtZero - time / kPerLambda); };
  return grid;
}

Grid uneven_grid(const Path& path, int steps, bool ends_clean) {
  std::vector<Level> levels;
  const int points = ends_clean ? steps : steps + 1;
  for (int i = 0; i < points; ++i)
    levels.push_back(path.at(-1.2 + 3.2 * i / (points - 1.0) + 0.03 * std::sin(2.0 + 5.0 * i)));
  if (ends_clean) levels.push_back({1.0, 0.0});
  return make_grid(path, std::move(levels));
}

bool is_inversion(const Plan& plan) {
  return plan.start.lambda() > plan.end.lambda();
}

bool draws_noise(const Plan& plan) {
  return std::any_of(plan.program.begin(), plan.program.end(), [](const Instruction& instruction) {
    const auto* c = std::get_if<Combine>(&instruction);
    return c != nullptr && !c->noise.empty();
  });
}

double spread_error(const Plan& plan, double data_std) {
  const Gaussian data{.mean = 0.0, .variance = data_std * data_std};
  const Moments m = gaussian_moments(plan, data).output;
  const double start = data.variance_at(plan.start), end = data.variance_at(plan.end);
  if (m.noise_variance == 0.0) return m.gain / std::sqrt(end / start) - 1.0;
  return std::sqrt(m.variance(start) / end) - 1.0;
}

std::array<double, 5> spread_errors(const Plan& plan) {
  std::array<double, 5> errors{0.1, 0.25, 0.5, 1.0, 2.0};
  for (double& value : errors) value = spread_error(plan, value);
  return errors;
}

double spread_error(const Plan& plan) {
  double sum = 0.0;
  for (const double error : spread_errors(plan)) sum += error * error / 5.0;
  return std::sqrt(sum);
}

double gaussian_w2(const Plan& plan) {
  double squares = 0.0, norm = 0.0;
  for (int j = 1; j <= 16; ++j) {
    const Gaussian data{.mean = 1.0 / j, .variance = 1.0 / (j * j)};
    const Moments m = gaussian_moments(plan, data).output;
    const double spread = std::sqrt(m.variance(data.variance_at(plan.start))) - std::sqrt(data.variance_at(plan.end));
    const double mean = m.mean(plan.start.alpha * data.mean) - plan.end.alpha * data.mean;
    squares += spread * spread + mean * mean;
    norm += data.variance + data.mean * data.mean;
  }
  return std::sqrt(squares / norm);
}

double stability(const Plan& plan) {
  constexpr int kPoints = 49;
  double worst = 0.0;
  for (int i = 0; i < kPoints; ++i)
    worst = std::max(worst, std::abs(1.0 + spread_error(plan, 1e-3 * std::pow(3e4, i / (kPoints - 1.0)))));
  return worst;
}

double line_mixture_error(const Plan& plan) {
  const std::vector<double> starts = line_starts(plan.start);
  std::vector<double> exact;
  for (const double x : starts) exact.push_back(reference_mixture().flow(x, plan.start, plan.end));
  return rms_gap(run_on_line(plan, starts), exact);
}

double plane_mixture_error(const Plan& plan) {
  const auto denoiser = [](std::span<const double> x, const Level& level) {
    return reference_plane().denoise(x, level);
  };
  // The fine integration costs more than all solvers together; only a few pairs of levels are ever asked for.
  thread_local std::map<std::array<double, 4>, std::vector<double>> known;
  const std::vector<double> starts = plane_starts(plan.start);
  std::vector<double>& exact = known[{plan.start.alpha, plan.start.sigma, plan.end.alpha, plan.end.sigma}];
  if (exact.empty()) exact = reference_plane().flow(starts, plan.start, plan.end, 4000);
  return rms_gap(run_on_host(plan, starts, denoiser), exact);
}

double amplification(const Plan& plan) {
  double worst = 0.0;
  for (const Instruction& instruction : plan.program) {
    const auto* c = std::get_if<Combine>(&instruction);
    if (c == nullptr || c->role == Role::kEps) continue;
    double sum = 0.0;
    for (const Term& term : c->terms) sum += std::abs(term.weight);
    worst = std::max(worst, sum);
  }
  return worst;
}

double float32_error(const Plan& plan) {
  const std::vector<double> starts = line_starts(plan.start);
  const std::vector<double> exact = run_on_line(plan, starts);
  double gap = 0.0, size = 0.0;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    gap = std::max(gap, std::abs(run_in_float(plan, static_cast<float>(starts[i])) - exact[i]));
    size = std::max(size, std::abs(exact[i]));
  }
  return gap / size;
}

int step_bodies(const Plan& plan) {
  std::set<int> counts;
  int count = 0;
  for (const Instruction& instruction : plan.program) {
    if (std::holds_alternative<Evaluate>(instruction)) ++count;
    const auto* mark = std::get_if<Mark>(&instruction);
    if (mark == nullptr || mark->kind != MarkKind::kStep) continue;
    counts.insert(count);
    count = 0;
  }
  return static_cast<int>(counts.size());
}

}  // namespace thaw
