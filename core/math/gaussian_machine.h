#pragma once
// A Machine on Gaussian data: what a method that decides as it goes does to the variance, without sampling.

#include <map>
#include <vector>

#include "core/math/machine.h"
#include "core/math/plan_analysis.h"

namespace thaw {

/// Each register is a linear function of the start and of the draws, exactly. Norms are those of a state of many
/// elements, where the mean of squares is the variance: so steps chosen by a norm are a certain choice.
///
/// Data have mean 0; nothing else is linear. Throws Error (kBug) where two draws of the path overlap.
class GaussianMachine : public Machine {
 public:
  /// `start_variance`: of the state the method starts from.
  GaussianMachine(const Gaussian& data, double start_variance);

  /// Variance of the last state.
  double run(const MachineMethod& method);

  Reg evaluate(Reg x, const Level& level) override;
  std::vector<Reg> evaluate_many(std::span<const Reg> x, std::span<const Level> levels) override;
  using Machine::combine;
  Reg combine(const Expr& sum, std::span<const NoiseTerm> noise) override;
  void release(Reg reg) override { registers_.erase(reg.id); }
  using Machine::keep_only;
  void keep_only(std::span<const Reg> registers) override;
  /// std(difference) / max(atol, rtol max(std(a), std(b))).
  double error_norm(Reg difference, Reg a, Reg b, double atol, double rtol) override;
  /// The standard deviation: the norm over the square root of the number of elements.
  double mean_norm(Reg x) override;
  bool mark(Reg, const Level&, MarkKind = MarkKind::kStep) override { return false; }
  std::int64_t evaluations() const override { return evaluations_; }
  bool has_drawn() const { return !draws_.empty(); }

 private:
  using Weights = std::vector<double>;  // on the start, then on each draw
  Reg add(Weights weights);
  const Weights& at(Reg reg) const;
  std::size_t column(const Draw& draw);
  double deviation(Reg reg) const;

  Gaussian data_;
  double start_variance_;
  std::map<std::uint32_t, Weights> registers_{};
  std::vector<Draw> draws_{};
  std::uint32_t next_ = 0;
  std::int64_t evaluations_ = 0;
};

}  // namespace thaw
