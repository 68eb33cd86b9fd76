#pragma once
// Samples from a model, in micro-batches of one size, so that sample i is the same to the bit whatever n is.

#include <functional>

#include "core/executor.h"
#include "core/given.h"
#include "core/guidance.h"
#include "core/level_map.h"
#include "experiments/editing.h"
#include "experiments/experiment.h"
#include "experiments/trace.h"

namespace thaw {

/// Of samples longer than `from`: drawn at that length, repeated up to their own, noised and denoised again over the
/// last part of the grid (Meng et al. 2022, SDEdit). What a set of points shall be is decided by their noise together;
/// a network that knows smaller sets takes the mean of more noise for less of it, and draws what is nearer to the mean.
struct Growth {
  std::int64_t from = 0;  // positions of the first dimension behind the channels; 0: samples are drawn at once
  double strength = 0.25;
};

struct SampleRequest {
  Solver solver;
  Grid grid;
  Guidance guidance;
  Thresholding thresholding{};
  std::uint64_t seed = 0;
  std::vector<std::uint64_t> samples;   // indices: names of the noise
  std::int64_t first = 0;               // number of the first of them, for what is given once a sample (measurements)
  std::vector<std::int64_t> labels;     // one a sample; empty without classes
  std::vector<std::string> captions{};  // one a sample; empty without captions
  Condition condition{}, null{};        // further conditions and what stands for none: a row a sample, or one for all
  std::int64_t micro_batch = 50;
  PathKind path_kind = PathKind::kBrownian;
  bool is_double = false;
  at::Tensor noise{};         // standard normal [N, ...] to start from in place of our own
  double start_scale = 0.0;   // standard deviation of the start; 0: that of unit-variance data at its level
  at::Tensor coarse{};        // encoded [N, ...], what the second network of a cascade is told; undefined: nothing
  double coarse_noise = 0.0;  // share of noise on it
  at::Tensor told_of{};  // encoded [N, ...], of which a network is told (core/told_of_sample.h); undefined: nothing
  Editing editing{};
  GivenPart given{};           // a row a sample, or one for all
  LevelMap level_map{};        // empty: one level a sample
  std::int64_t positions = 0;  // of the first dimension behind the channels; 0: the model's own
  Growth growth{};  // nothing that starts from known data grows, nor noise of another length than growth.from
  Trace* trace = nullptr;
  std::string progress{};  // name of a progress line, empty for none
};

/// True where samples of `length` positions take two runs: request.growth.from positions, then all.
bool grows(const SampleRequest& request, std::int64_t length);

/// The samples [first, first + count) of a request, with their rows of what has a row a sample.
SampleRequest part_of(const SampleRequest& request, std::int64_t first, std::int64_t count);

/// Called with each finished part in order, encoded and on the CPU, and the network evaluations a sample of it took.
using SampleSink = std::function<void(const at::Tensor& x, std::int64_t evaluations)>;
/// `observer` sees both runs of samples that grow. Throws NumbersError naming the sample when one is not finite,
/// Stopped between micro-batches, ConfigError where samples grow that are told of something of their length.
void sample(const Model& model, const SampleRequest& request, const SampleSink& sink, const Observer& observer = {});

struct SampledSet {
  at::Tensor x;                  // encoded [N, ...]
  std::int64_t evaluations = 0;  // the most of its parts, where a sampler chooses its steps
  double seconds = 0.0;
};
/// All of them in one tensor.
at::Tensor sample_all(const Model& model, const SampleRequest& request);

/// Of the section "sampling".
const std::vector<Option>& sampling_options();
Settings sampling_settings(const Config& config);

/// Of an encoded sample without the batch: the data's, with sampling.length where that is said.
std::vector<std::int64_t> sampled_shape(const Experiment& experiment);

/// Makes the model draw samples of sampling.length in place of its data's. Throws ConfigError where they are told of
/// examples, which have a length of their own, or where the network takes no such sample.
void take_length(const Experiment& experiment, Model& model);

/// Of the experiment's backbone that is told samples at 1 / this of their resolution; 0: is told none.
std::int64_t coarse_factor(const Experiment& experiment);

/// Names of the further numbers that the experiment's backbone is told.
std::vector<std::string> told_numbers(const Experiment& experiment);

/// True where the experiment's backbone is told something of the sample it draws.
bool is_told_of_sample(const Experiment& experiment);

/// True where sample i is told of held-out example i (its coarse form, a given part), so that the two can be compared.
bool samples_are_paired(const Experiment& experiment);

/// The first n held-out examples, encoded; they go round where there are fewer. Throws ConfigError where there are
/// none.
at::Tensor held_out_examples(const Experiment& experiment, std::int64_t n);

/// A request with the experiment's own sampler, grid and guidance that asks for nothing.
SampleRequest plain_request(const Experiment& experiment, std::int64_t n, std::uint64_t first_sample = 0);

/// A plain request with what is asked for: labels go round the classes unless `label` >= 0,
/// captions, and what the second network of a cascade is told, are those of the held-out examples unless there is a
/// prompt. With a task and `gives_examples`, the given part is that of the held-out examples (of the training ones
/// where none are held out), and so are labels. Further numbers of the network (Backbone::takes_numbers) are those of
/// `told`, [N] each, and the held-out examples' where that has none of them. Throws ConfigError where they have none.
SampleRequest make_request(const Experiment& experiment, std::int64_t n, std::int64_t label = -1,
                           std::uint64_t first_sample = 0, const std::string& prompt = "", bool gives_examples = true,
                           const Condition& told = {});

}  // namespace thaw
