#include "core/executor.h"

#include <algorithm>
#include <limits>
#include <map>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/stop.h"
#include "core/base/text.h"
#include "core/lanes.h"
#include "core/tensor_sum.h"

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

// A denoiser may answer with its own input (identity, a network of zeros around a skip); sums in place would then write
// over the answer.
void part_from(Latent& answer, const Latent& input) {
  for (auto& [name, stream] : answer.streams)
    for (const auto& [input_name, source] : input.streams)
      if (stream.is_alias_of(source)) {
        stream = stream.clone();
        break;
      }
}

/// A register: its value, which may belong to a denoiser or to the caller, and a place of its own to write to.
struct Slot {
  Latent value;
  Latent own{};
  /// In place of `value`: an estimate that no sum has needed yet, of the state in this register.
  std::optional<Affine> formula{};
  Reg of{};

  bool is_own() const { return !own.streams.empty() && value.main().is_same(own.main()); }
  /// A hook may write to its state: never to somebody else's.
  void make_own() {
    if (is_own()) return;
    own = value;
    for (auto& [name, stream] : own.streams) stream = stream.clone();
    value = own;
  }
};

class Execution {
 public:
  Execution(const Plan& plan, const Denoiser& denoiser, NoiseSource& noise, const Watch& watch, Latent x)
      : lowered_(lower(plan)), denoiser_(denoiser), watch_(watch), sum_(noise, x), slots_(lowered_.num_registers) {
    noise.begin(plan);
    slots_.at(lowered_.plan.input.id).value = std::move(x);
  }

  Latent run() {
    for (position_ = 0; position_ < lowered_.plan.program.size(); ++position_) {
      std::visit([this](const auto& instruction) { execute(instruction); }, lowered_.plan.program[position_]);
      for (const Reg reg : lowered_.freed[position_]) release(reg);
    }
    settle();
    return slots_.at(lowered_.plan.output.id).value;
  }

 private:
  void execute(const Evaluate& evaluate) {
    if (slots_.at(evaluate.src.id).formula) settle();
    const Latent& x = slots_.at(evaluate.src.id).value;
    const Query query{.at = evaluate.level, .target = evaluate.target, .wanted = wanted_by(evaluate)};
    Outputs outputs = denoiser_(x, query);
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
  }

  void execute(const Combine& combine) {
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

  void execute(const Mark& mark) {
    Slot& slot = slots_.at(mark.reg.id);
    if (watch_.hook || slot.formula) settle();
    if (watch_.hook) {
      slot.make_own();
      watch_.hook(mark, slot.value);
    }
    if (watch_.observer) watch_.observer(mark, slot.value, denoised_);
  }

  bool is_freed(Reg reg) const {  // by the instruction at hand
    const std::vector<Reg>& freed = lowered_.freed[position_];
    return std::find(freed.begin(), freed.end(), reg) != freed.end();
  }

  std::vector<WeightedLatent> terms_of(const Affine& formula, Reg of) const {
    std::vector<WeightedLatent> terms;
    if (formula.skip != 0.0 || formula.parts.empty()) terms.push_back({&slots_.at(of.id).value, formula.skip});
    for (const auto& [weight, output] : formula.parts) terms.push_back({&output, weight});
    return terms;
  }

  // A formula's terms in its place; the state it is of is often a term already.
  void add_term(const Term& term) {
    const Slot& slot = slots_.at(term.reg.id);
    if (!slot.formula) return add_term(&slot.value, term.weight);
    if (slot.formula->skip != 0.0) add_term(&slots_.at(slot.of.id).value, term.weight * slot.formula->skip);
    for (const auto& [weight, output] : slot.formula->parts) add_term(&output, term.weight * weight);
  }
  void add_term(const Latent* latent, double weight) {
    for (WeightedLatent& known : terms_)
      if (known.latent == latent) {
        known.weight += weight;
        return;
      }
    terms_.push_back({latent, weight});
  }

  // Computes what waits: a state is about to change, or an estimate itself is asked for.
  void settle() {
    while (!waiting_.empty()) {
      const Reg reg = waiting_.back();
      Slot& slot = slots_.at(reg.id);
      sum_(slot.own, terms_of(*slot.formula, slot.of), {}, {});
      settled(reg);
    }
  }
  void settled(Reg reg) {
    forget(reg);
    slots_.at(reg.id).value = slots_.at(reg.id).own;
  }
  void forget(Reg reg) {
    slots_.at(reg.id).formula.reset();
    std::erase(waiting_, reg);
  }
  void release(Reg reg) {
    if (slots_.at(reg.id).formula) forget(reg);
    slots_.at(reg.id).value = {};
  }

  LoweredPlan lowered_;
  const Denoiser& denoiser_;
  const Watch& watch_;
  TensorSum sum_;
  std::vector<Slot> slots_;
  Latent denoised_;
  std::vector<WeightedLatent> terms_;  // of the sum under way
  std::vector<const Latent*> scales_;
  std::vector<LatentSum> also_;
  std::vector<Reg> also_in_;
  std::vector<Reg> waiting_;  // registers that hold a formula
  std::size_t position_ = 0;
};

/// Registers made and given back as the method asks; the buffers of those given back are used again.
class TensorMachine : public Machine {
 public:
  TensorMachine(const Denoiser& denoiser, NoiseSource& noise, const Watch& watch, Latent x)
      : denoiser_(denoiser), watch_(watch), sum_(noise, x) {
    add({.value = std::move(x)});
  }

  const Latent& value(Reg reg) const { return slot(reg).value; }
  std::int64_t evaluations() const override { return evaluations_; }

  Reg evaluate(Reg x, const Level& level) override {
    const Latent& state = value(x);
    Latent answer = denoiser_(state, {.at = level}).front().data;
    ++evaluations_;
    denoised_ = answer;
    part_from(answer, state);
    return add({.value = std::move(answer)});
  }

  std::vector<Reg> evaluate_many(std::span<const Reg> x, std::span<const Level> levels) override {
    if (x.size() == 1) return {evaluate(x.front(), levels.front())};
    std::vector<const Latent*> states;
    for (const Reg reg : x) states.push_back(&value(reg));
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    const Latent joined = join_lanes(states);
    Latent answer = denoiser_(joined, {.at = {kNone, kNone}, .lanes = {levels.begin(), levels.end()}}).front().data;
    evaluations_ += static_cast<std::int64_t>(x.size());
    std::vector<Reg> result;
    for (std::size_t k = 0; k < x.size(); ++k) result.push_back(add({.value = lane_of(answer, k, x.size())}));
    denoised_ = value(result.back());
    return result;
  }

  using Machine::combine;
  Reg combine(const Expr& sum, std::span<const NoiseTerm> noise) override {
    std::vector<WeightedLatent> terms;
    for (const Term& term : sum.terms())
      if (term.weight != 0.0) terms.push_back({&value(term.reg), term.weight});
    const std::vector<const Latent*> unscaled(noise.size(), nullptr);
    Slot slot;
    if (!pool_.empty()) {
      slot.own = std::move(pool_.back());
      pool_.pop_back();
    }
    sum_(slot.own, terms, noise, unscaled);
    slot.value = slot.own;
    return add(std::move(slot));
  }

  void release(Reg reg) override {
    const auto found = slots_.find(reg.id);
    if (found == slots_.end()) return;
    if (found->second.is_own()) pool_.push_back(std::move(found->second.own));
    slots_.erase(found);
  }

  using Machine::keep_only;
  void keep_only(std::span<const Reg> registers) override {
    std::vector<Reg> gone;
    for (const auto& [id, slot] : slots_)
      if (std::find(registers.begin(), registers.end(), Reg{id}) == registers.end()) gone.push_back(Reg{id});
    for (const Reg reg : gone) release(reg);
  }

  double error_norm(Reg difference, Reg a, Reg b, double atol, double rtol) override {
    return mean_square(value(difference),
                       [&](const at::Tensor& d, std::size_t s) {
                         const at::Tensor size =
                             at::maximum(value(a).streams[s].second.abs(), value(b).streams[s].second.abs());
                         return d / (size * rtol).clamp_min(atol);
                       })
        .max()
        .sqrt()
        .item<double>();
  }

  double mean_norm(Reg x) override {
    std::int64_t elements = 0;
    for (const auto& [name, stream] : value(x).streams) elements += stream.numel() / stream.size(0);
    return (mean_square(value(x), [](const at::Tensor& v, std::size_t) { return v; }) * static_cast<double>(elements))
        .sqrt()
        .mean()
        .item<double>();
  }

  bool mark(Reg x, const Level& level, MarkKind kind) override {
    if (stop_requested()) throw Stopped("sampling stopped within a trajectory; nothing of its batch is kept.");
    Slot& slot = slots_.at(x.id);
    const Mark here{x, level, kind, step_};
    if (kind == MarkKind::kStep) ++step_;
    if (watch_.hook) {
      slot.make_own();
      watch_.hook(here, slot.value);
    }
    if (watch_.observer) watch_.observer(here, slot.value, denoised_);
    return static_cast<bool>(watch_.hook);
  }

 private:
  // One float64 a sample, over all streams.
  template <class Ratio>
  static at::Tensor mean_square(const Latent& x, const Ratio& ratio) {
    at::Tensor total;
    std::int64_t elements = 0;
    for (std::size_t s = 0; s < x.streams.size(); ++s) {
      const at::Tensor rows = ratio(x.streams[s].second, s).flatten(1);
      const at::Tensor sum = rows.square().sum(1, false, at::kDouble);
      total = total.defined() ? total + sum : sum;
      elements += rows.size(1);
    }
    return total / static_cast<double>(elements);
  }

  Reg add(Slot slot) {
    slots_.emplace(next_, std::move(slot));
    return Reg{next_++};
  }
  const Slot& slot(Reg reg) const {
    const auto found = slots_.find(reg.id);
    if (found == slots_.end())
      throw Error(ExitCode::kBug, concat("machine: register ", reg.id, " was given back or never written"));
    return found->second;
  }

  const Denoiser& denoiser_;
  const Watch& watch_;
  TensorSum sum_;
  std::map<std::uint32_t, Slot> slots_;
  std::vector<Latent> pool_;
  Latent denoised_;
  std::int64_t evaluations_ = 0;
  std::uint32_t next_ = 0;
  int step_ = 0;
};

}  // namespace

Latent run_plan(const Plan& plan, const Denoiser& denoiser, Latent x, NoiseSource& noise, const Watch& watch) {
  const c10::NoGradGuard no_grad;
  return Execution(plan, denoiser, noise, watch, std::move(x)).run();
}

MethodRun run_method(const MachineMethod& method, const Denoiser& denoiser, Latent x, NoiseSource& noise,
                     const Watch& watch) {
  const c10::NoGradGuard no_grad;
  TensorMachine machine(denoiser, noise, watch, std::move(x));
  const Reg end = method(machine, Reg{0});
  return {machine.value(end), machine.evaluations()};
}

}  // namespace thaw
