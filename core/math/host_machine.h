#pragma once
// A Machine on host doubles, for tests, certificates and goldens.

#include <cstddef>
#include <map>

#include "core/math/machine.h"
#include "core/math/plan_analysis.h"

namespace thaw {

class HostMachine : public Machine {
 public:
  /// x holds samples of `sample_size` elements one after the other; 0: one sample. Evaluations are elementwise.
  HostMachine(std::span<const double> x, std::size_t sample_size, HostDenoiser denoiser, HostNoise noise = {},
              HostObserver observer = {});

  /// Runs the method from x and returns its last state.
  std::vector<double> run(const MachineMethod& method);

  Reg evaluate(Reg x, const Level& level) override;
  std::vector<Reg> evaluate_many(std::span<const Reg> x, std::span<const Level> levels) override;
  using Machine::combine;
  Reg combine(const Expr& sum, std::span<const NoiseTerm> noise) override;
  void release(Reg reg) override { registers_.erase(reg.id); }
  using Machine::keep_only;
  void keep_only(std::span<const Reg> registers) override;
  double error_norm(Reg difference, Reg a, Reg b, double atol, double rtol) override;
  double mean_norm(Reg x) override;
  bool mark(Reg x, const Level& level, MarkKind kind = MarkKind::kStep) override;
  std::int64_t evaluations() const override { return evaluations_; }

  /// Registers alive: what a tensor machine would hold.
  std::size_t num_registers() const { return registers_.size(); }
  std::size_t max_registers() const { return max_registers_; }

 private:
  using Vector = std::vector<double>;
  Reg add(Vector value);
  const Vector& at(Reg reg) const;

  std::map<std::uint32_t, Vector> registers_;
  std::size_t num_elements_, sample_size_, max_registers_ = 0;
  std::uint32_t next_ = 0;
  HostDenoiser denoiser_;
  HostNoise noise_;
  HostObserver observer_;
  std::int64_t evaluations_ = 0;
  int step_ = 0;
};

}  // namespace thaw
