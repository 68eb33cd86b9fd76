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
#include "core/plan_run.h"
#include "core/tensor_sum.h"

namespace thaw {

namespace {

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
    StateSlot slot;
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
    StateSlot& slot = slots_.at(x.id);
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

  Reg add(StateSlot slot) {
    slots_.emplace(next_, std::move(slot));
    return Reg{next_++};
  }
  const StateSlot& slot(Reg reg) const {
    const auto found = slots_.find(reg.id);
    if (found == slots_.end())
      throw Error(ExitCode::kBug, concat("machine: register ", reg.id, " was given back or never written"));
    return found->second;
  }

  const Denoiser& denoiser_;
  const Watch& watch_;
  TensorSum sum_;
  std::map<std::uint32_t, StateSlot> slots_;
  std::vector<Latent> pool_;
  Latent denoised_;
  std::int64_t evaluations_ = 0;
  std::uint32_t next_ = 0;
  int step_ = 0;
};

}  // namespace

Latent run_plan(const Plan& plan, const Denoiser& denoiser, Latent x, NoiseSource& noise, const Watch& watch) {
  const c10::NoGradGuard no_grad;
  PlanRun run(plan, noise, watch, std::move(x));
  while (const Evaluate* question = run.next())
    run.answer(denoiser(run.asked(), {.at = question->level, .target = question->target, .wanted = run.wanted()}));
  return run.result();
}

MethodRun run_method(const MachineMethod& method, const Denoiser& denoiser, Latent x, NoiseSource& noise,
                     const Watch& watch) {
  const c10::NoGradGuard no_grad;
  TensorMachine machine(denoiser, noise, watch, std::move(x));
  const Reg end = method(machine, Reg{0});
  return {machine.value(end), machine.evaluations()};
}

}  // namespace thaw
