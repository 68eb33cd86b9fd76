#pragma once
// What a sampling run did, step by step, for anyone who doubts it.

#include <filesystem>
#include <vector>

#include "core/executor.h"

namespace thaw {

/// Collects the states and x0 estimates of all micro-batches. `x` [S + 1, N, ...] is the state at every level, the last
/// the result (of samples that grow, those of both runs); `denoised` [E, N, ...] the x0 estimates in the order of the
/// calls, at `eval_alpha`, `eval_sigma` [E]; all in the type of the run.
class Trace {
 public:
  /// A new micro-batch, of which the first `count` samples count, of `positions` in the first dimension behind the
  /// channels (0: there is none); states of fewer are kept with theirs repeated.
  void begin_batch(std::int64_t count, std::int64_t positions);
  /// A run begins at `start`; samples that grow take two.
  void begin(const Latent& start);
  void step(const Latent& x);
  /// The state of the last step, rewritten by a corrector.
  void correct(const Latent& x);
  /// The denoiser, with every answer noted.
  Denoiser watched(Denoiser denoiser);

  /// Throws ResourceError above 8 GiB.
  void save(const std::filesystem::path& path) const;

 private:
  void keep(std::vector<std::vector<at::Tensor>>& rows, std::size_t row, const at::Tensor& x);

  std::vector<std::vector<at::Tensor>> x_, denoised_;  // [row][micro-batch]
  std::vector<double> alpha_, sigma_;
  std::size_t first_ = 0, state_ = 0, call_ = 0;  // first_: state that the run began with
  std::int64_t count_ = 0, positions_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace thaw
