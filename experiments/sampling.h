#pragma once
// Samples from a model, in micro-batches of one size, so that sample i is the same to the bit whatever n is.

#include <functional>

#include "core/executor.h"
#include "experiments/experiment.h"

namespace thaw {

struct SampleRequest {
  Plan plan;
  Guidance guidance;
  std::uint64_t seed = 0;
  std::vector<std::uint64_t> samples;  // indices: names of the noise
  std::vector<std::int64_t> labels;    // one a sample; empty without classes
  std::int64_t micro_batch = 50;
  bool is_double = false;
  std::string progress{};  // name of a progress line, empty for none
};

/// Called with each finished part in order, encoded and on the CPU.
using SampleSink = std::function<void(std::int64_t first, const at::Tensor& x)>;
/// Throws NumbersError naming the sample when one is not finite, Stopped between micro-batches.
void sample(const Model& model, const SampleRequest& request, const SampleSink& sink, const Observer& observer = {});

/// All of them in one tensor.
at::Tensor sample_all(const Model& model, const SampleRequest& request);

/// A request with the experiment's own sampler, grid and guidance; labels go round the classes unless `label` >= 0.
SampleRequest make_request(const Experiment& experiment, std::int64_t n, std::int64_t label = -1,
                           std::uint64_t first_sample = 0);

}  // namespace thaw
