#pragma once
// A solver on a fixed grid, as a short program: ask the denoiser, form weighted sums, mark where a step ends.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/math/level.h"

namespace thaw {

/// A state-sized register. In a Plan each is written once (SSA); `lower` maps them to few physical ones.
struct Reg {
  std::uint32_t id = ~std::uint32_t{0};
  bool operator==(const Reg&) const = default;
};
inline constexpr Reg kNoReg{};

/// What a denoiser can be asked for besides its x0 estimate. The executor refuses kinds its denoiser does not give.
enum class OutputKind : std::uint8_t {
  kData,      // the x0 estimate, after guidance and thresholding
  kRaw,       // before thresholding
  kUnguided,  // before guidance
  kVariance,  // learned variance, v in [-1, 1] of Nichol and Dhariwal 2021
  kVelocity,
};

struct Output {
  OutputKind kind = OutputKind::kData;
  Reg dst;
};

/// Ask the denoiser about `src` at `level`. `level` need not be the one src came from. `target` is the second time
/// of flow-map networks. Never at sigma = 0.
struct Evaluate {
  Reg src;
  Level level;
  std::optional<Level> target{};
  std::vector<Output> outputs{};
};

/// The name of a standard normal tensor; the same name is the same tensor, whoever asks.
///
/// is_path: the normalised increment (W(to) - W(from)) / sqrt(to - from) of the one Brownian motion of each sample, on
/// the clock lambda, from < to (core/math/brownian.h clamps to [-16, 16]). Otherwise an independent draw named by
/// (stream, ordinal): only for moves up in noise.
struct Draw {
  bool is_path = true;
  std::uint8_t stream = 0;
  std::uint32_t ordinal = 0;
  double from = 0.0;
  double to = 0.0;
  bool operator==(const Draw&) const = default;
};

/// Streams of independent draws.
inline constexpr std::uint8_t kChurnStream = 1;     // ordinal: step
inline constexpr std::uint8_t kRestartStream = 3;   // ordinal: repetition
inline constexpr std::uint8_t kHookStream = 4;      // ordinal: mark
inline constexpr std::uint8_t kLangevinStream = 5;  // ordinal: correction

/// weight * draw; with `scale` (a kVariance register v) weight * exp(0.5 lerp(log_low, log_high, (v + 1) / 2)) * draw.
struct NoiseTerm {
  double weight = 0.0;
  Draw draw{};
  Reg scale = kNoReg;
  double log_low = 0.0;
  double log_high = 0.0;
};

struct Term {
  Reg reg;
  double weight = 0.0;
};

/// What a Combine is within its step, so that steps can be aligned (CUDA graphs). It changes no number.
enum class Role : std::uint8_t { kAdvance, kStage, kCorrect, kEps, kNoiseUp };

/// dst = sum of weighted registers + weighted draws.
struct Combine {
  Reg dst;
  Role role = Role::kAdvance;
  std::vector<Term> terms{};
  std::vector<NoiseTerm> noise{};
};

enum class MarkKind : std::uint8_t {
  kStep,       // reg is the state at `level` after step `step`
  kCorrected,  // a corrector has rewritten the same level's state
  kNoised,     // the state moved up in noise (churn, restart)
};

/// Observers and hooks sit here: traces, previews, replacement of known parts.
struct Mark {
  Reg reg;
  Level level;
  MarkKind kind = MarkKind::kStep;
  int step = 0;
};

using Instruction = std::variant<Evaluate, Combine, Mark>;

struct Plan {
  std::vector<Instruction> program{};
  Reg input{0};
  Reg output;
  Level start;  // level of the input
  Level end;    // level of the output
  std::uint32_t num_registers = 0;

  /// Calls of the denoiser.
  std::int64_t evaluations() const;
  /// Completed steps: marks of kind kStep.
  std::int64_t steps() const;
};

/// Throws Error (kBug) naming the instruction for: an evaluation at sigma = 0 or at a level that is not finite, a
/// register read before or written after it was written, a weight that is not finite, a path draw of no length, two
/// outputs of one kind, an output register outside the plan, no mark at the end.
void validate(const Plan& plan);

/// A plan on physical registers, for executors.
struct LoweredPlan {
  Plan plan;                        // register ids below num_registers, reused; dst may equal a source of its Combine
  std::uint32_t num_registers = 0;  // state-sized tensors alive at once, input included
  std::vector<std::vector<Reg>> freed{};  // freed[i]: physical registers whose value nobody reads after instruction i
};

/// Liveness and linear scan. A source that dies in a Combine may be overwritten in place (the update is elementwise),
/// never by an Evaluate. Throws nothing on a validated plan.
LoweredPlan lower(const Plan& plan);

/// One line an instruction, for people and golden tests.
std::string format_plan(const Plan& plan);

}  // namespace thaw
