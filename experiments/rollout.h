#pragma once
// Samples longer than a network's, window by window: each begins with the end of the one before, which is given.

#include <functional>

#include "experiments/sampling.h"

namespace thaw {

/// Positions of the first dimension behind the channels.
struct Rollout {
  std::int64_t length = 0, window = 0, overlap = 0;
};

/// What is new of a window, encoded [m, C, K, ...], of the samples that begin at `first` in the request. Windows come
/// in their order, all those of a micro-batch before the next one's.
using WindowSink = std::function<void(std::int64_t first, const at::Tensor& x)>;

/// Samples `request` to the rollout's length; its own given part is that of the first window. Nothing but a window is
/// kept. The noise of window k of sample i is that of a sample of its own, named i + k 2^40. Throws ConfigError for
/// windows that do not go on, and whatever `sample` throws.
void roll_out(const Model& model, const SampleRequest& request, const Rollout& rollout, const WindowSink& sink);

}  // namespace thaw
