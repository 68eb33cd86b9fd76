#include "core/math/plan_analysis.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/noise_basis.h"

namespace thaw {
namespace {

/// A register as a linear function of a growing list of sources; the meaning of a column is the caller's.
using Columns = std::vector<double>;

void add_scaled(Columns& sum, const Columns& other, double weight) {
  if (other.size() > sum.size()) sum.resize(other.size(), 0.0);
  for (std::size_t i = 0; i < other.size(); ++i) sum[i] += weight * other[i];
}

// An exact denoiser has neither guidance nor thresholding: data, raw and unguided are one estimate.
void expect_estimates(const Evaluate& e) {
  for (const Output& output : e.outputs)
    if (output.kind == OutputKind::kVariance || output.kind == OutputKind::kVelocity)
      throw Error(ExitCode::kBug, "analysis: the plan asks for more than the x0 estimate");
}

void add_noise(Columns& sum, const Combine& combine, const NoiseBasis& basis, std::size_t first_column) {
  for (const NoiseTerm& term : combine.noise)
    for (const NoiseBasis::Part& part : basis.parts(term.draw)) {
      const std::size_t column = first_column + part.element;
      if (column >= sum.size()) sum.resize(column + 1, 0.0);
      sum[column] += term.weight * part.weight;
    }
}

// A row from its columns [x_in, noise ..., data ...] in units of y = x / alpha.
Row make_row(const Columns& columns, std::size_t num_noise, const Level& start, const Level& level) {
  const double scale = level.alpha > 0 ? 1.0 / level.alpha : 1.0;
  const auto column = [&](std::size_t i) { return i < columns.size() ? columns[i] * scale : 0.0; };
  Row row;
  row.on_input = column(0) * (start.alpha > 0 ? start.alpha : 1.0);
  for (std::size_t i = 0; i < num_noise; ++i) row.on_noise.push_back(column(1 + i));
  for (std::size_t i = 1 + num_noise; i < columns.size(); ++i) row.on_data.push_back(columns[i] * scale);
  return row;
}

Tableau tableau_on(const Plan& plan, const NoiseBasis& basis) {
  const LoweredPlan lowered = lower(plan);
  std::vector<Columns> registers(lowered.num_registers);
  registers[lowered.plan.input.id] = {1.0};
  Tableau tableau;
  const std::size_t first_data = 1 + basis.size();
  for (const Instruction& instruction : lowered.plan.program) {
    if (const auto* e = std::get_if<Evaluate>(&instruction)) {
      expect_estimates(*e);
      tableau.inputs.push_back(make_row(registers[e->src.id], basis.size(), plan.start, e->level));
      Columns data(first_data + tableau.lambdas.size() + 1, 0.0);
      data.back() = 1.0;
      for (const Output& output : e->outputs) registers[output.dst.id] = data;
      tableau.lambdas.push_back(e->level.lambda());
    } else if (const auto* c = std::get_if<Combine>(&instruction)) {
      Columns sum;
      for (const Term& term : c->terms) add_scaled(sum, registers[term.reg.id], term.weight);
      add_noise(sum, *c, basis, 1);
      registers[c->dst.id] = std::move(sum);
    }
  }
  tableau.output = make_row(registers[lowered.plan.output.id], basis.size(), plan.start, plan.end);
  return tableau;
}

double difference(double a, double b) {
  return a == b ? 0.0 : std::abs(a - b);
}  // equal infinities differ by 0

double difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0.0;
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i)
    worst = std::max(worst, difference(i < a.size() ? a[i] : 0.0, i < b.size() ? b[i] : 0.0));
  return worst;
}

double difference(const Row& a, const Row& b) {
  return std::max(
      {difference(a.on_input, b.on_input), difference(a.on_data, b.on_data), difference(a.on_noise, b.on_noise)});
}

// Columns [constant, x_in, noise ...].
Moments moments_of(const Columns& columns) {
  Moments m{.offset = 0.0, .gain = 0.0, .noise_variance = 0.0};
  if (!columns.empty()) m.offset = columns[0];
  if (columns.size() > 1) m.gain = columns[1];
  for (std::size_t i = 2; i < columns.size(); ++i) m.noise_variance += columns[i] * columns[i];
  return m;
}

}  // namespace

double Tableau::noise_variance() const {
  double sum = 0.0;
  for (const double weight : output.on_noise) sum += weight * weight;
  return sum;
}

Tableau normal_form(const Plan& plan) {
  const Plan* plans[] = {&plan};
  return tableau_on(plan, NoiseBasis(plans));
}

std::vector<Tableau> normal_forms(std::span<const Plan* const> plans) {
  const NoiseBasis basis(plans);
  std::vector<Tableau> tableaus;
  for (const Plan* plan : plans) tableaus.push_back(tableau_on(*plan, basis));
  return tableaus;
}

double tableau_distance(const Tableau& a, const Tableau& b) {
  if (a.inputs.size() != b.inputs.size()) return std::numeric_limits<double>::infinity();
  double worst = difference(a.output, b.output);
  for (std::size_t i = 0; i < a.inputs.size(); ++i)
    worst = std::max({worst, difference(a.lambdas[i], b.lambdas[i]), difference(a.inputs[i], b.inputs[i])});
  return worst;
}

double plan_distance(const Plan& a, const Plan& b) {
  if (a.evaluations() != b.evaluations()) return std::numeric_limits<double>::infinity();
  const Plan* plans[] = {&a, &b};
  const std::vector<Tableau> tableaus = normal_forms(plans);
  return tableau_distance(tableaus[0], tableaus[1]);
}

Plan with_fixed_variance(Plan plan, double v) {
  for (Instruction& instruction : plan.program) {
    if (auto* e = std::get_if<Evaluate>(&instruction)) {
      std::erase_if(e->outputs, [](const Output& output) { return output.kind == OutputKind::kVariance; });
    } else if (auto* c = std::get_if<Combine>(&instruction)) {
      for (NoiseTerm& term : c->noise) {
        if (term.scale == kNoReg) continue;
        term.weight *= std::exp(0.5 * std::lerp(term.log_low, term.log_high, 0.5 * (v + 1.0)));
        term.scale = kNoReg;
      }
    }
  }
  return plan;
}

double Gaussian::gain(const Level& level) const {
  return level.alpha * variance / variance_at(level);
}
double Gaussian::denoise(double x, const Level& level) const {
  return mean + gain(level) * (x - level.alpha * mean);
}
double Gaussian::variance_at(const Level& level) const {
  return level.alpha * level.alpha * variance + level.sigma * level.sigma;
}

namespace {

/// Walks a lowered plan with the exact denoiser; `see` is told each evaluation's input and each mark's register.
/// Returns the output's columns [constant, x_in, noise ...].
template <class See>
Columns walk_gaussian(const Plan& plan, const Gaussian& data, const NoiseBasis& basis, See see) {
  const LoweredPlan lowered = lower(plan);
  std::vector<Columns> registers(lowered.num_registers);
  registers[lowered.plan.input.id] = {0.0, 1.0};
  for (const Instruction& instruction : lowered.plan.program) {
    if (const auto* e = std::get_if<Evaluate>(&instruction)) {
      expect_estimates(*e);
      see(instruction, registers[e->src.id]);
      const double gain = data.gain(e->level);
      Columns denoised{data.mean * (1.0 - gain * e->level.alpha)};
      add_scaled(denoised, registers[e->src.id], gain);
      for (const Output& output : e->outputs) registers[output.dst.id] = denoised;
    } else if (const auto* c = std::get_if<Combine>(&instruction)) {
      Columns sum;
      for (const Term& term : c->terms) add_scaled(sum, registers[term.reg.id], term.weight);
      add_noise(sum, *c, basis, 2);
      registers[c->dst.id] = std::move(sum);
    } else {
      see(instruction, registers[std::get<Mark>(instruction).reg.id]);
    }
  }
  return registers[lowered.plan.output.id];
}

}  // namespace

PlanMoments gaussian_moments(const Plan& plan, const Gaussian& data) {
  const Plan* plans[] = {&plan};
  PlanMoments result;
  const Columns output =
      walk_gaussian(plan, data, NoiseBasis(plans), [&](const Instruction& instruction, const Columns& columns) {
        auto& list = std::holds_alternative<Mark>(instruction) ? result.marks : result.inputs;
        list.push_back(moments_of(columns));
      });
  result.output = moments_of(output);
  return result;
}

std::vector<double> strong_errors(std::span<const Plan* const> plans, const Plan& reference, const Gaussian& data) {
  std::vector<const Plan*> all(plans.begin(), plans.end());
  all.push_back(&reference);
  const NoiseBasis basis(all);
  const auto ignore = [](const Instruction&, const Columns&) {};
  const Columns exact = walk_gaussian(reference, data, basis, ignore);
  std::vector<double> errors;
  for (const Plan* plan : plans) {
    Columns gap = walk_gaussian(*plan, data, basis, ignore);
    add_scaled(gap, exact, -1.0);
    const Moments m = moments_of(gap);
    const double mean = m.mean(plan->start.alpha * data.mean);
    errors.push_back(std::sqrt(m.variance(data.variance_at(plan->start)) + mean * mean));
  }
  return errors;
}

double strong_error(const Plan& a, const Plan& b, const Gaussian& data) {
  const Plan* plans[] = {&a};
  return strong_errors(plans, b, data).front();
}

double variance_error(const Plan& plan, const Gaussian& data, double start_variance) {
  const double start = start_variance < 0.0 ? data.variance_at(plan.start) : start_variance;
  return gaussian_moments(plan, data).output.variance(start) / data.variance_at(plan.end) - 1.0;
}

double point_mass_error(const Plan& plan) {
  const Gaussian point{.mean = 1.0, .variance = 0.0};
  const PlanMoments moments = gaussian_moments(plan, point);
  double worst = 0.0;
  std::size_t next = 0;
  for (const Instruction& instruction : plan.program) {
    const auto* e = std::get_if<Evaluate>(&instruction);
    if (e == nullptr) continue;
    const Moments& m = moments.inputs[next++];
    const double std_dev = std::sqrt(m.variance(plan.start.sigma * plan.start.sigma));
    const double scale = e->level.alpha + e->level.sigma;
    worst = std::max({worst, std::abs(m.mean(plan.start.alpha) - e->level.alpha) / scale,
                      std::abs(std_dev - e->level.sigma) / scale});
  }
  return worst;
}

std::vector<double> run_on_host(const Plan& plan, std::span<const double> x, const HostDenoiser& denoiser,
                                const HostNoise& noise, const HostObserver& observer) {
  const LoweredPlan lowered = lower(plan);
  std::vector<std::vector<double>> registers(lowered.num_registers);
  registers[lowered.plan.input.id].assign(x.begin(), x.end());
  for (const Instruction& instruction : lowered.plan.program) {
    if (const auto* e = std::get_if<Evaluate>(&instruction)) {
      expect_estimates(*e);
      const std::vector<double> data = denoiser(registers[e->src.id], e->level);
      for (const Output& output : e->outputs) registers[output.dst.id] = data;
    } else if (const auto* c = std::get_if<Combine>(&instruction)) {
      std::vector<double> sum(x.size(), 0.0);
      for (const Term& term : c->terms) add_scaled(sum, registers[term.reg.id], term.weight);
      for (const NoiseTerm& term : c->noise) add_scaled(sum, noise(term.draw), term.weight);
      registers[c->dst.id] = std::move(sum);
    } else if (const auto* m = std::get_if<Mark>(&instruction)) {
      if (observer) observer(*m, registers[m->reg.id]);
    }
  }
  return registers[lowered.plan.output.id];
}

double order_slope(std::span<const double> steps, std::span<const double> errors) {
  double mean_x = 0.0, mean_y = 0.0;
  const auto n = static_cast<double>(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    mean_x += std::log(steps[i]) / n;
    mean_y += std::log(errors[i]) / n;
  }
  double xy = 0.0, xx = 0.0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double dx = std::log(steps[i]) - mean_x;
    xy += dx * (std::log(errors[i]) - mean_y);
    xx += dx * dx;
  }
  return -xy / xx;
}

double gain_error(const Plan& plan) {
  double sum = 0.0;
  constexpr double kSpreads[] = {0.1, 0.25, 0.5, 1.0, 2.0};
  for (const double spread : kSpreads) {
    const Gaussian data{.mean = 0.0, .variance = spread * spread};
    const double exact = std::sqrt(data.variance_at(plan.end) / data.variance_at(plan.start));
    const double relative = gaussian_moments(plan, data).output.gain / exact - 1.0;
    sum += relative * relative / std::size(kSpreads);
  }
  return std::sqrt(sum);
}

}  // namespace thaw
