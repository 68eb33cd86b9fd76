#include "core/math/host_machine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

HostMachine::HostMachine(std::span<const double> x, std::size_t sample_size, HostDenoiser denoiser, HostNoise noise,
                         HostObserver observer)
    : num_elements_(x.size()),
      sample_size_(sample_size == 0 ? x.size() : sample_size),
      denoiser_(std::move(denoiser)),
      noise_(std::move(noise)),
      observer_(std::move(observer)) {
  add(Vector(x.begin(), x.end()));
}

std::vector<double> HostMachine::run(const MachineMethod& method) {
  return at(method(*this, Reg{0}));
}

Reg HostMachine::add(Vector value) {
  registers_.emplace(next_, std::move(value));
  max_registers_ = std::max(max_registers_, registers_.size());
  return Reg{next_++};
}

const HostMachine::Vector& HostMachine::at(Reg reg) const {
  const auto found = registers_.find(reg.id);
  if (found == registers_.end())
    throw Error(ExitCode::kBug, concat("machine: register ", reg.id, " was given back or never written"));
  return found->second;
}

Reg HostMachine::evaluate(Reg x, const Level& level) {
  if (!(level.sigma > 0.0)) throw Error(ExitCode::kBug, concat("machine: evaluation at sigma ", level.sigma));
  ++evaluations_;
  return add(denoiser_(at(x), level));
}

std::vector<Reg> HostMachine::evaluate_many(std::span<const Reg> x, std::span<const Level> levels) {
  std::vector<Reg> result;
  for (std::size_t i = 0; i < x.size(); ++i) result.push_back(evaluate(x[i], levels[i]));
  return result;
}

Reg HostMachine::combine(const Expr& sum, std::span<const NoiseTerm> noise) {
  Vector total(num_elements_, 0.0);
  const auto add_scaled = [&total](const Vector& other, double weight) {
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += weight * other[i];
  };
  for (const Term& term : sum.terms())
    if (term.weight != 0.0) add_scaled(at(term.reg), term.weight);
  for (const NoiseTerm& term : noise)
    if (term.weight != 0.0) add_scaled(noise_(term.draw), term.weight);
  return add(std::move(total));
}

void HostMachine::keep_only(std::span<const Reg> registers) {
  std::erase_if(registers_, [&](const auto& entry) {
    return std::find(registers.begin(), registers.end(), Reg{entry.first}) == registers.end();
  });
}

double HostMachine::error_norm(Reg difference, Reg a, Reg b, double atol, double rtol) {
  const Vector &d = at(difference), &x = at(a), &y = at(b);
  double worst = 0.0;
  for (std::size_t first = 0; first < d.size(); first += sample_size_) {
    double sum = 0.0;
    for (std::size_t i = first; i < first + sample_size_; ++i) {
      const double ratio = d[i] / std::max(atol, rtol * std::max(std::abs(x[i]), std::abs(y[i])));
      sum += ratio * ratio;
    }
    const double norm = std::sqrt(sum / static_cast<double>(sample_size_));
    if (std::isnan(norm)) return norm;
    worst = std::max(worst, norm);
  }
  return worst;
}

double HostMachine::mean_norm(Reg x) {
  const Vector& v = at(x);
  double total = 0.0;
  for (std::size_t first = 0; first < v.size(); first += sample_size_) {
    double sum = 0.0;
    for (std::size_t i = first; i < first + sample_size_; ++i) sum += v[i] * v[i];
    total += std::sqrt(sum);
  }
  return total * static_cast<double>(sample_size_) / static_cast<double>(v.size());
}

bool HostMachine::mark(Reg x, const Level& level, MarkKind kind) {
  if (observer_) observer_(Mark{x, level, kind, step_}, at(x));
  if (kind == MarkKind::kStep) ++step_;
  return false;
}

}  // namespace thaw
