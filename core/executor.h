#pragma once
// Runs plans and methods on tensors. The one place where a solver meets a network.

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>

#include "core/denoiser.h"
#include "core/math/machine.h"
#include "core/math/plan.h"
#include "core/noise_source.h"

namespace thaw {

/// Called at each mark with the marked state and the latest x0 estimate (empty before the first evaluation). The
/// state's tensors are written over by later steps: clone what shall be kept.
using Observer = std::function<void(const Mark& mark, const Latent& x, const Latent& denoised)>;

/// May change the marked state before it is observed: replacement of known parts, RePaint with the marks of `restart`.
/// It must act at every mark of every kind, or a corrector that starts from the step before undoes it.
using Hook = std::function<void(const Mark& mark, Latent& x)>;

/// Who is told of marks.
struct Watch {
  Observer observer{};
  Hook hook{};

  Watch() = default;
  template <std::convertible_to<Observer> F>
  Watch(F observe, Hook change = {}) : observer(std::move(observe)), hook(std::move(change)) {}  // NOLINT
};

/// Runs `plan` from x. Sums in the order of the terms, then of the draws, in x's type (float64 for exact studies).
/// One tensor a physical register of the lowered plan is made, none a step. Throws Error (kBug) for an output that the
/// denoiser does not give; raw falls back on the estimate.
Latent run_plan(const Plan& plan, const Denoiser& denoiser, Latent x, NoiseSource& noise, const Watch& watch = {});

struct MethodRun {
  Latent x;
  std::int64_t evaluations = 0;  // of the network, a sample
};

/// Runs a method that decides as it goes. Throws what the method throws, Stopped at a mark where a stop was asked for.
MethodRun run_method(const MachineMethod& method, const Denoiser& denoiser, Latent x, NoiseSource& noise,
                     const Watch& watch = {});

}  // namespace thaw
