#include "core/math/gaussian_machine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

GaussianMachine::GaussianMachine(const Gaussian& data, double start_variance)
    : data_(data), start_variance_(start_variance) {
  if (data.mean != 0.0) throw Error(ExitCode::kBug, concat("machine: data with mean ", data.mean, " are not linear"));
  add({1.0});
}

double GaussianMachine::run(const MachineMethod& method) {
  const double std_dev = deviation(method(*this, Reg{0}));
  return std_dev * std_dev;
}

Reg GaussianMachine::add(Weights weights) {
  registers_.emplace(next_, std::move(weights));
  return Reg{next_++};
}

const GaussianMachine::Weights& GaussianMachine::at(Reg reg) const {
  const auto found = registers_.find(reg.id);
  if (found == registers_.end())
    throw Error(ExitCode::kBug, concat("machine: register ", reg.id, " was given back or never written"));
  return found->second;
}

std::size_t GaussianMachine::column(const Draw& draw) {
  const auto known = std::find(draws_.begin(), draws_.end(), draw);
  if (known != draws_.end()) return static_cast<std::size_t>(known - draws_.begin()) + 1;
  constexpr double kRounding = 1e-9;  // of a level's lambda
  for (const Draw& other : draws_)
    if (draw.is_path && other.is_path && std::min(draw.to, other.to) - std::max(draw.from, other.from) > kRounding)
      throw Error(ExitCode::kBug, "machine: draws of the path overlap");
  draws_.push_back(draw);
  return draws_.size();
}

double GaussianMachine::deviation(Reg reg) const {
  const Weights& weights = at(reg);
  double variance = weights[0] * weights[0] * start_variance_;
  for (std::size_t i = 1; i < weights.size(); ++i) variance += weights[i] * weights[i];
  return std::sqrt(variance);
}

Reg GaussianMachine::evaluate(Reg x, const Level& level) {
  ++evaluations_;
  Weights denoised = at(x);
  const double gain = data_.gain(level);
  for (double& weight : denoised) weight *= gain;
  return add(std::move(denoised));
}

std::vector<Reg> GaussianMachine::evaluate_many(std::span<const Reg> x, std::span<const Level> levels) {
  std::vector<Reg> result;
  for (std::size_t i = 0; i < x.size(); ++i) result.push_back(evaluate(x[i], levels[i]));
  return result;
}

Reg GaussianMachine::combine(const Expr& sum, std::span<const NoiseTerm> noise) {
  Weights total(1, 0.0);
  for (const Term& term : sum.terms()) {
    const Weights& other = at(term.reg);
    total.resize(std::max(total.size(), other.size()), 0.0);
    for (std::size_t i = 0; i < other.size(); ++i) total[i] += term.weight * other[i];
  }
  for (const NoiseTerm& term : noise) {
    const std::size_t i = column(term.draw);
    total.resize(std::max(total.size(), i + 1), 0.0);
    total[i] += term.weight;
  }
  return add(std::move(total));
}

void GaussianMachine::keep_only(std::span<const Reg> registers) {
  std::erase_if(registers_, [&](const auto& entry) {
    return std::find(registers.begin(), registers.end(), Reg{entry.first}) == registers.end();
  });
}

double GaussianMachine::error_norm(Reg difference, Reg a, Reg b, double atol, double rtol) {
  return deviation(difference) / std::max(atol, rtol * std::max(deviation(a), deviation(b)));
}

double GaussianMachine::mean_norm(Reg x) {
  return deviation(x);
}

}  // namespace thaw
