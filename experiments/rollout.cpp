#include "experiments/rollout.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

constexpr std::uint64_t kNextWindow = std::uint64_t{1} << 40;  // between the names of a sample's windows

void expect_goes_on(const SampleRequest& request, const Rollout& rollout) {
  if (rollout.overlap < 1 || rollout.overlap >= rollout.window)
    throw ConfigError(
        concat("overlap: must be at least 1 and below the window of ", rollout.window, ", got ", rollout.overlap, "."));
  if (rollout.length < rollout.window)
    throw ConfigError(concat("frames: ", rollout.length, " are fewer than a window of ", rollout.window, "."));
  if (request.noise.defined() || request.editing.known.defined() || request.coarse.defined() ||
      request.trace != nullptr)
    throw ConfigError("frames: windows are made one behind the other: drop noise=, init=, between=, trace=, cascade=.");
  if (grows(request, rollout.window))
    throw ConfigError(concat("sampling.grown_from: windows go on from one another and do not grow. Use a window of ",
                             request.growth.from, " or sampling.grown_from=0."));
}

/// A part of another number of positions: cut, or with nothing given behind it.
at::Tensor fitted(const at::Tensor& part, std::int64_t positions) {
  if (!part.defined() || part.size(2) == positions) return part;
  if (part.size(2) > positions) return part.narrow(2, 0, positions);
  std::vector<std::int64_t> shape = part.sizes().vec();
  shape[2] = positions - part.size(2);
  return at::cat({part, at::zeros(shape, part.options())}, 2);
}

/// The given part of the window behind x [m, C, W, ...].
GivenPart end_of(const at::Tensor& x, std::int64_t overlap) {
  const std::int64_t window = x.size(2);
  GivenPart part{at::zeros_like(x), {}};
  part.data.narrow(2, 0, overlap).copy_(x.narrow(2, window - overlap, overlap));
  std::vector<std::int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  shape[2] = window;
  part.mask = at::zeros(shape);
  part.mask.narrow(2, 0, overlap).fill_(1.0);
  return part;
}

}  // namespace

void roll_out(const Model& model, const SampleRequest& request, const Rollout& rollout, const WindowSink& sink) {
  expect_goes_on(request, rollout);
  const auto n = static_cast<std::int64_t>(request.samples.size());
  for (std::int64_t first = 0; first < n; first += request.micro_batch) {
    SampleRequest window = part_of(request, first, std::min(request.micro_batch, n - first));
    window.progress.clear();
    window.positions = rollout.window;
    window.given = {fitted(window.given.data, rollout.window), fitted(window.given.mask, rollout.window)};
    for (std::int64_t done = 0; done < rollout.length;) {
      const at::Tensor x = sample_all(model, window);
      const std::int64_t old = done == 0 ? 0 : rollout.overlap;
      const std::int64_t fresh = std::min(rollout.window - old, rollout.length - done);
      sink(first, x.narrow(2, old, fresh));
      done += fresh;
      window.given = end_of(x, rollout.overlap);
      for (std::uint64_t& sample : window.samples) sample += kNextWindow;
    }
  }
}

}  // namespace thaw
