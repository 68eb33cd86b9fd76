#pragma once
// Parts of a sample that are given, and what becomes of them: a network is told them in training and while sampling,
// and the sample keeps them. Continuation, filling in, completion.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/registry.h"
#include "core/denoiser.h"
#include "core/math/philox.h"
#include "core/model.h"

namespace thaw {

/// Which part of a sample is given.
class Task {
 public:
  virtual ~Task() = default;
  /// [1, K, 1, ...] for a sample [C, K, ...], 1 where it is given; drawn as `key` names. Throws ConfigError where the
  /// sample is too small for it.
  virtual at::Tensor mask(const std::vector<std::int64_t>& shape, const NoiseKey& key) const = 0;
};
using TaskPtr = std::shared_ptr<const Task>;  // null: nothing is given
using TaskRegistry = Registry<TaskPtr>;
/// Adds none, continuation, in_between and last: ends of the first dimension behind the channels, which is time as a
/// rule.
void register_tasks(TaskRegistry& registry);

/// Whole numbers from `least` to `most`, all alike.
struct CountRange {
  std::int64_t least = 0, most = 0;
};
/// [n] or [least, most] of an option. Throws ConfigError where it is neither.
CountRange count_range(const Settings& settings, const std::string& option);

/// So many positions at the beginning and at the end of the first dimension behind the channels, each drawn from its
/// range. At least one position is left.
TaskPtr make_ends_task(CountRange first, CountRange last);

/// Masks [N, 1, K, 1, ...] of samples, each named by (seed, sample).
at::Tensor task_masks(const Task& task, const std::vector<std::int64_t>& shape, std::uint64_t seed,
                      std::span<const std::uint64_t> samples);

/// "given" mask x0 and "given_mask" for the condition; mask [N, 1, ...] broadcasts to x0 [N, ...].
void tell_given(Condition& condition, const at::Tensor& x0, const at::Tensor& mask);

/// The condition of training examples with what the model is told of them; unchanged without a task and of a model that
/// is told nothing. Dropped together with the rest of the condition.
Condition with_given(const Model& model, const TaskPtr& task, const at::Tensor& x0, Condition condition,
                     std::uint64_t seed, std::span<const std::uint64_t> samples);

/// A given part of the samples of a batch.
struct GivenPart {
  at::Tensor data{};  // encoded [N, ...]; undefined: nothing is given
  at::Tensor mask{};  // [N, 1, ...], broadcasts to it
};

/// x [M, C, K, ...] put where masks [N, 1, K', 1, ...] give a beginning (from x's own) and an end (from x's end); K may
/// be below K', and what x does not hold is not given. Row n is x's row n, its last one for all behind.
GivenPart placed(const at::Tensor& x, const at::Tensor& masks);

/// Outside of guidance and thresholding: the estimate of what is given is what is given, so that a solver that is exact
/// for data at one point takes it along to its own end. `by_level`: the network is told nothing else than that it is
/// clean: it sees the given part itself, at the clean level (Chen et al. 2024, Diffusion forcing); masks are then the
/// same all over a position.
Denoiser with_given_part(Denoiser denoiser, GivenPart part, bool by_level);

/// x with the given part to the bit.
at::Tensor keep_given(const at::Tensor& x, const GivenPart& part);

}  // namespace thaw
