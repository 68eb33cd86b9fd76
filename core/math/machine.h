#pragma once
// What a method that decides as it goes may do: the vocabulary of Builder, carried out at once.
//
// A sampler on a fixed grid is a Plan and needs none of this. Adaptive steps, tests of convergence and step sizes made
// from norms need answers before they can go on.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <vector>

#include "core/math/grid.h"
#include "core/math/plan_builder.h"

namespace thaw {

/// Carries out evaluations and weighted sums on whatever the state is made of. Each register is written once.
///
/// The batch moves as one: a step is taken or refused for all its samples, by the worst of them. So a sample's result
/// depends, within the tolerance, on the micro-batch it is in; steps of its own for each sample are not supported.
class Machine {
 public:
  virtual ~Machine() = default;

  /// The denoiser's x0 estimate of x at a level; sigma must be above 0.
  virtual Reg evaluate(Reg x, const Level& level) = 0;
  /// The same for several states, as one batch of the network. One level a state.
  virtual std::vector<Reg> evaluate_many(std::span<const Reg> x, std::span<const Level> levels) = 0;

  /// Sum of the expression, then of the draws. Empty for draws alone.
  virtual Reg combine(const Expr& sum, std::span<const NoiseTerm> noise) = 0;
  Reg combine(const Expr& sum) { return combine(sum, std::span<const NoiseTerm>{}); }
  Reg combine(const Expr& sum, const NoiseTerm& noise) { return combine(sum, std::span(&noise, 1)); }

  virtual void release(Reg reg) = 0;
  /// Gives back every register but these; kNoReg counts as none.
  virtual void keep_only(std::span<const Reg> registers) = 0;
  void keep_only(std::initializer_list<Reg> registers) {
    keep_only(std::span<const Reg>(registers.begin(), registers.size()));
  }

  /// The worst sample's root mean square of difference / max(atol, rtol max(|a|, |b|)), element by element: a step is
  /// good at <= 1. Not finite when a value is not.
  virtual double error_norm(Reg difference, Reg a, Reg b, double atol, double rtol) = 0;
  /// Mean over the samples of the Euclidean norm.
  virtual double mean_norm(Reg x) = 0;

  /// Tells observers and hooks; throws Stopped where a stop was asked for. True when a hook may have changed x: what
  /// was computed from it before is then out of date.
  virtual bool mark(Reg x, const Level& level, MarkKind kind = MarkKind::kStep) = 0;

  /// Network evaluations a sample so far.
  virtual std::int64_t evaluations() const = 0;
};

/// From the first state to the last.
using MachineMethod = std::function<Reg(Machine& machine, Reg x)>;

}  // namespace thaw
