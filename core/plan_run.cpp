#include "core/plan_run.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

Wanted wanted_by(const Evaluate& evaluate) {
  Wanted wanted;
  for (const Output& output : evaluate.outputs) {
    wanted.raw = wanted.raw || output.kind == OutputKind::kRaw;
    wanted.unguided = wanted.unguided || output.kind == OutputKind::kUnguided;
    wanted.variance = wanted.variance || output.kind == OutputKind::kVariance;
    wanted.velocity = wanted.velocity || output.kind == OutputKind::kVelocity;
  }
  wanted.affine = !wanted.raw && !wanted.unguided && !wanted.velocity;
  return wanted;
}

const Latent& output_of(const Estimate& estimate, OutputKind kind) {
  static constexpr const char* kNames[] = {"data", "raw", "unguided", "variance", "velocity"};
  const std::optional<Latent>* extra = nullptr;
  switch (kind) {
    case OutputKind::kData:
      return estimate.data;
    case OutputKind::kRaw:
      return estimate.raw ? *estimate.raw : estimate.data;
    case OutputKind::kUnguided:
      extra = &estimate.unguided;
      break;
    case OutputKind::kVariance:
      extra = &estimate.variance;
      break;
    case OutputKind::kVelocity:
      extra = &estimate.velocity;
      break;
  }
  if (!*extra)
    throw Error(ExitCode::kBug, concat("this denoiser does not give the output \"", kNames[static_cast<int>(kind)],
                                       "\" that the plan asks for"));
  return **extra;
}

}  // namespace

void part_from(Latent& answer, const Latent& input) {
  for (auto& [name, stream] : answer.streams)
    for (const auto& [input_name, source] : input.streams)
      if (stream.is_alias_of(source)) {
        stream = stream.clone();
        break;
      }
}

PlanRun::PlanRun(const Plan& plan, NoiseSource& noise, const Watch& watch, Latent x)
    : lowered_(lower(plan)), watch_(watch), sum_(noise, x), slots_(lowered_.num_registers) {
  noise.begin(plan);
  slots_.at(lowered_.plan.input.id).value = std::move(x);
}

void StateSlot::make_own() {
  if (is_own()) return;
  own = value;
  for (auto& [name, stream] : own.streams) stream = stream.clone();
  value = own;
}

const Evaluate* PlanRun::next() {
  for (; position_ < lowered_.plan.program.size(); ++position_) {
    const Instruction& instruction = lowered_.plan.program[position_];
    if (const auto* evaluate = std::get_if<Evaluate>(&instruction)) {
      if (slots_.at(evaluate->src.id).formula) settle();
      return question_ = evaluate;
    }
    if (const auto* combine = std::get_if<Combine>(&instruction)) execute(*combine);
    if (const auto* mark = std::get_if<Mark>(&instruction)) execute(*mark);
    release_freed();
  }
  settle();
  return question_ = nullptr;
}

Wanted PlanRun::wanted() const {
  return wanted_by(*question_);
}

void PlanRun::answer(Outputs outputs) {
  const Evaluate& evaluate = *question_;
  const Latent& x = asked();
  Estimate& estimate = outputs.front();
  if (watch_.observer) {
    denoised_ = {};
    if (estimate.affine)
      sum_(denoised_, terms_of(*estimate.affine, evaluate.src), {}, {});
    else
      denoised_ = estimate.data;
  }
  for (const Output& output : evaluate.outputs) {
    Slot& slot = slots_.at(output.dst.id);
    if (output.kind == OutputKind::kData && estimate.affine) {
      slot.formula = std::move(estimate.affine);
      slot.of = evaluate.src;
      waiting_.push_back(output.dst);
      continue;
    }
    Latent answer = output_of(estimate, output.kind);
    part_from(answer, x);
    slot.value = std::move(answer);
  }
  if (is_freed(evaluate.src)) settle();  // its estimate is of what is no longer there
  release_freed();
  ++position_;
}

void PlanRun::release_freed() {
  for (const Reg reg : lowered_.freed[position_]) release(reg);
}

void PlanRun::execute(const Combine& combine) {
  terms_.clear();
  scales_.clear();
  for (const Term& term : combine.terms) add_term(term);
  for (const NoiseTerm& term : combine.noise)
    scales_.push_back(term.scale == kNoReg ? nullptr : &slots_.at(term.scale.id).value);
  // Estimates that outlive the state they are of.
  also_.clear();
  also_in_.clear();
  for (const Reg reg : waiting_) {
    Slot& estimate = slots_.at(reg.id);
    const bool is_lasting = reg != combine.dst && !is_freed(reg);
    if (!is_lasting || (estimate.of != combine.dst && !is_freed(estimate.of))) continue;
    also_.push_back({&estimate.own, terms_of(*estimate.formula, estimate.of)});
    also_in_.push_back(reg);
  }
  Slot& slot = slots_.at(combine.dst.id);
  sum_(slot.own, terms_, combine.noise, scales_, also_);
  for (const Reg reg : also_in_) settled(reg);
  if (slot.formula) forget(combine.dst);
  slot.value = slot.own;
}

void PlanRun::execute(const Mark& mark) {
  Slot& slot = slots_.at(mark.reg.id);
  if (watch_.hook || slot.formula) settle();
  if (watch_.hook) {
    slot.make_own();
    watch_.hook(mark, slot.value);
  }
  if (watch_.observer) watch_.observer(mark, slot.value, denoised_);
}

bool PlanRun::is_freed(Reg reg) const {  // by the instruction at hand
  const std::vector<Reg>& freed = lowered_.freed[position_];
  return std::find(freed.begin(), freed.end(), reg) != freed.end();
}

std::vector<WeightedLatent> PlanRun::terms_of(const Affine& formula, Reg of) const {
  std::vector<WeightedLatent> terms;
  if (formula.skip != 0.0 || formula.parts.empty()) terms.push_back({&slots_.at(of.id).value, formula.skip});
  for (const auto& [weight, output] : formula.parts) terms.push_back({&output, weight});
  return terms;
}

// A formula's terms in its place; the state it is of is often a term already.
void PlanRun::add_term(const Term& term) {
  const Slot& slot = slots_.at(term.reg.id);
  if (!slot.formula) return add_term(&slot.value, term.weight);
  if (slot.formula->skip != 0.0) add_term(&slots_.at(slot.of.id).value, term.weight * slot.formula->skip);
  for (const auto& [weight, output] : slot.formula->parts) add_term(&output, term.weight * weight);
}
void PlanRun::add_term(const Latent* latent, double weight) {
  for (WeightedLatent& known : terms_)
    if (known.latent == latent) {
      known.weight += weight;
      return;
    }
  terms_.push_back({latent, weight});
}

// Computes what waits: a state is about to change, or an estimate itself is asked for.
void PlanRun::settle() {
  while (!waiting_.empty()) {
    const Reg reg = waiting_.back();
    Slot& slot = slots_.at(reg.id);
    sum_(slot.own, terms_of(*slot.formula, slot.of), {}, {});
    settled(reg);
  }
}
void PlanRun::settled(Reg reg) {
  forget(reg);
  slots_.at(reg.id).value = slots_.at(reg.id).own;
}
void PlanRun::forget(Reg reg) {
  slots_.at(reg.id).formula.reset();
  std::erase(waiting_, reg);
}
void PlanRun::release(Reg reg) {
  if (slots_.at(reg.id).formula) forget(reg);
  slots_.at(reg.id).value = {};
}

}  // namespace thaw
