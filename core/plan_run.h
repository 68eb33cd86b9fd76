#pragma once
// A plan under way on tensors: it stops wherever it asks a denoiser, so that several can ask as one.

#include <vector>

#include "core/executor.h"
#include "core/tensor_sum.h"

namespace thaw {

/// A register: its value, which may belong to a denoiser or to the caller, and a place of its own to write to.
struct StateSlot {
  Latent value{};
  Latent own{};

  bool is_own() const { return !own.streams.empty() && value.main().is_same(own.main()); }
  /// A hook may write to its state: never to somebody else's.
  void make_own();
};

/// One run of a plan from x. Sums in the order of the terms, then of the draws, in x's type. `noise` and `watch` must
/// outlive it.
///
///   PlanRun run(plan, noise, watch, x);
///   while (const Evaluate* question = run.next()) run.answer(denoiser(run.asked(), ...));
///   run.result();
class PlanRun {
 public:
  PlanRun(const Plan& plan, NoiseSource& noise, const Watch& watch, Latent x);

  /// Goes on to the next question; nullptr at the end. It must have been answered before the next call.
  const Evaluate* next();
  /// The state that the question is about.
  const Latent& asked() const { return slots_.at(question_->src.id).value; }
  /// What the question asks for beside the estimate.
  Wanted wanted() const;
  void answer(Outputs outputs);

  /// At the end.
  const Latent& result() const { return slots_.at(lowered_.plan.output.id).value; }

 private:
  struct Slot : StateSlot {
    /// In place of `value`: an estimate that no sum has needed yet, of the state in this register.
    std::optional<Affine> formula{};
    Reg of{};
  };

  void execute(const Combine& combine);
  void execute(const Mark& mark);
  void release_freed();
  bool is_freed(Reg reg) const;  // by the instruction at hand
  std::vector<WeightedLatent> terms_of(const Affine& formula, Reg of) const;
  void add_term(const Term& term);
  void add_term(const Latent* latent, double weight);
  void settle();
  void settled(Reg reg);
  void forget(Reg reg);
  void release(Reg reg);

  LoweredPlan lowered_;
  const Watch& watch_;
  TensorSum sum_;
  std::vector<Slot> slots_;
  Latent denoised_;
  const Evaluate* question_ = nullptr;
  std::vector<WeightedLatent> terms_;  // of the sum under way
  std::vector<const Latent*> scales_;
  std::vector<LatentSum> also_;
  std::vector<Reg> also_in_;
  std::vector<Reg> waiting_;  // registers that hold a formula
  std::size_t position_ = 0;
};

/// A denoiser may answer with its own input (identity, a network of zeros around a skip); sums in place would then
/// write over the answer.
void part_from(Latent& answer, const Latent& input);

}  // namespace thaw
