#include "core/executor.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"

namespace thaw {

namespace {

class Execution {
 public:
  Execution(const Plan& plan, const Denoiser& denoiser, NoiseSource& noise, const Observer& observer)
      : lowered_(lower(plan)), denoiser_(denoiser), noise_(noise), observer_(observer),
        registers_(lowered_.num_registers) {}

  Latent run(Latent x) {
    registers_.at(lowered_.plan.input.id) = std::move(x);
    for (std::size_t i = 0; i < lowered_.plan.program.size(); ++i) {
      std::visit([this](const auto& instruction) { execute(instruction); }, lowered_.plan.program[i]);
      for (const Reg reg : lowered_.freed[i]) registers_.at(reg.id) = {};
    }
    return registers_.at(lowered_.plan.output.id);
  }

 private:
  void execute(const Evaluate& evaluate) {
    Outputs outputs = denoiser_(registers_.at(evaluate.src.id), {evaluate.level, evaluate.target});
    for (const Output& output : evaluate.outputs) {
      if (output.kind != OutputKind::kData)
        throw Error(ExitCode::kBug, "this denoiser gives x0 estimates only; the plan asks for another output");
      registers_.at(output.dst.id) = outputs.front();
    }
    denoised_ = std::move(outputs.front());
  }

  void execute(const Combine& combine) {
    Latent sum = registers_.at(combine.terms.front().reg.id);
    std::vector<std::vector<at::Tensor>> draws;
    for (const NoiseTerm& term : combine.noise) draws.push_back(noise_.draw(term.draw, sum));
    for (std::size_t s = 0; s < sum.streams.size(); ++s) {
      at::Tensor total = sum.streams[s].second * combine.terms.front().weight;
      for (std::size_t t = 1; t < combine.terms.size(); ++t)
        total.add_(registers_.at(combine.terms[t].reg.id).streams[s].second, combine.terms[t].weight);
      for (std::size_t d = 0; d < draws.size(); ++d) total.add_(draws[d][s], combine.noise[d].weight);
      sum.streams[s].second = total;
    }
    registers_.at(combine.dst.id) = std::move(sum);
  }

  void execute(const Mark& mark) {
    if (observer_) observer_(mark, registers_.at(mark.reg.id), denoised_);
  }

  LoweredPlan lowered_;
  const Denoiser& denoiser_;
  NoiseSource& noise_;
  const Observer& observer_;
  std::vector<Latent> registers_;
  Latent denoised_;
};

}  // namespace

Latent run_plan(const Plan& plan, const Denoiser& denoiser, Latent x, NoiseSource& noise, const Observer& observer) {
  const c10::NoGradGuard no_grad;
  return Execution(plan, denoiser, noise, observer).run(std::move(x));
}

}  // namespace thaw
