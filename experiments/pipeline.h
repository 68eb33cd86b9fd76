#pragma once
// train -> sample -> evaluate -> compare -> report in a run folder, each stage skipped where its outcome stands.

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/sampling.h"

namespace thaw {

struct PipelineOptions {
  std::filesystem::path folder;
  std::string command;  // as typed, for the record
  std::vector<std::string> stages{"train", "sample", "evaluate", "compare", "report"};
};

/// Prints what each stage found to stdout. Throws as the stages do; what is done stays done.
void run_pipeline(const Experiment& experiment, const PipelineOptions& options);

/// The facts of a finished run that a model card carries.
std::vector<std::pair<std::string, std::string>> card_facts(const Experiment& experiment,
                                                            const std::filesystem::path& folder);

/// Samples into <path>: arr_0 channels last, as the codec decodes (uint8 pictures), arr_1 labels, captions as
/// zero-padded bytes, codec the section of the configuration; memory does not grow with n. Micro-batches are kept in
/// <path>.partial until all are there: the same request, stopped at any moment (also by SIGKILL) and made again, goes
/// on behind them and ends in the same bytes.
void save_samples(const Experiment& experiment, const Model& model, const SampleRequest& request,
                  const std::filesystem::path& path);

/// All of them in one tensor, with the seconds they took; kept in `partial` meanwhile, as save_samples does. `what`:
/// all that the request depends on and the experiment's configuration does not say.
SampledSet sample_resumable(const Experiment& experiment, const Model& model, const SampleRequest& request,
                            const std::string& what, const std::filesystem::path& partial);

struct Samples {
  at::Tensor raw;  // channels first
  std::vector<std::int64_t> labels{};
  std::vector<std::string> captions{};
  std::string codec{};  // section of the configuration that it was decoded by; empty where the file does not tell
};
/// Throws DataError when the file is not what save_samples writes.
Samples read_samples(const std::filesystem::path& path);

/// Pictures of samples for people, with pictures/index.json: the forward and reverse process; a sheet a class, or the
/// first samples one by one with their captions.
void write_pictures(const Experiment& experiment, const Model& model, const Samples& samples,
                    const std::filesystem::path& folder);

/// The same of examples through an autoencoder and back, [n, ...] both.
void write_reconstructions(const Codec& codec, const at::Tensor& original_raw, const at::Tensor& raw,
                           const std::filesystem::path& folder);

/// Adds to these the samples that metric nearest_training found nearest to training examples, and those examples.
void write_nearest(const Experiment& experiment, const Samples& samples, const nlohmann::json& measured,
                   const std::filesystem::path& folder);

/// program, commit, libtorch, device ... as environment.json.
void write_environment(const Model& model, const std::filesystem::path& folder, const std::string& command);

}  // namespace thaw
