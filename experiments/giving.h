#pragma once
// What is given of samples: a file of a person's own in place of held-out examples.

#include <filesystem>

#include "experiments/model_folder.h"
#include "experiments/sampling.h"

namespace thaw {

/// Throws ConfigError where nothing tells the network what is given.
void expect_can_be_given(const Experiment& experiment, const Model& model);

/// Shape of a raw sample whose encoded one is this.
std::vector<std::int64_t> raw_shape_of(const Experiment& experiment, std::vector<std::int64_t> encoded_shape);

/// The task's part of a video, a sound, a folder of frames or an .npz, as many samples as the request has. Throws
/// ConfigError without a task, DataError for samples of another size.
void give_file(const std::filesystem::path& path, const LoadedModel& loaded, SampleRequest& request);

}  // namespace thaw
