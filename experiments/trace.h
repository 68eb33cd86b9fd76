#pragma once
// What a sampling run did, step by step, for anyone who doubts it.

#include <filesystem>
#include <vector>

#include "core/executor.h"

namespace thaw {

/// Collects the states and x0 estimates of all micro-batches. `x` [S + 1, N, ...] is the state at every level, the last
/// the result; `denoised` [E, N, ...] the x0 estimates in the order of the calls, at `eval_alpha`, `eval_sigma` [E];
/// all in the type of the run.
class Trace {
 public:
  /// A new micro-batch begins at `start`, of which the first `count` samples count.
  void begin(const Latent& start, std::int64_t count);
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
  std::size_t state_ = 0, call_ = 0;
  std::int64_t count_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace thaw
