#include "experiments/giving.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "experiments/pipeline.h"

namespace thaw {

namespace fs = std::filesystem;

void expect_can_be_given(const Experiment& experiment, const Model& model) {
  if (model.backbone->takes_given() || (experiment.tells_given_by_level() && model.backbone->takes_parts())) return;
  throw ConfigError(
      "given: nothing tells this network what is given. Train one with backbone.given: true, or with "
      "objective.levels_of: parts; without training, guidance=pigdm with measurement inpainting does "
      "(docs/guidance.md).");
}

std::vector<std::int64_t> raw_shape_of(const Experiment& experiment, std::vector<std::int64_t> encoded_shape) {
  encoded_shape.insert(encoded_shape.begin(), 1);
  return experiment.codec()->decode(at::zeros(encoded_shape))[0].sizes().vec();
}

void give_file(const fs::path& path, const LoadedModel& loaded, SampleRequest& request) {
  const Experiment& experiment = *loaded.experiment;
  if (!experiment.task())
    throw ConfigError("command line: given: say which part of it, for example task=continuation task.first=5.");
  const std::vector<std::int64_t> raw_shape = raw_shape_of(experiment, loaded.model.spec.shape);
  at::Tensor raw =
      path.extension() == ".npz" ? read_samples(path).raw : experiment.codec()->read(path, raw_shape).unsqueeze(0);
  std::vector<std::int64_t> found = raw[0].sizes().vec();
  if (found.size() == raw_shape.size()) found[1] = raw_shape[1];
  if (found != raw_shape)
    throw DataError(
        concat(path.string(), ": samples are ", raw[0].sizes(), ", the model's ", at::IntArrayRef(raw_shape), "."));
  request.given = placed(experiment.codec()->encode(raw.narrow(2, 0, std::min(raw.size(2), raw_shape[1]))),
                         task_masks(*experiment.task(), loaded.model.spec.shape, request.seed, request.samples));
}

}  // namespace thaw
