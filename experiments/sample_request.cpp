#include <algorithm>
#include <limits>
#include <optional>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/coarse.h"
#include "core/latent_codec.h"
#include "core/told_of_sample.h"
#include "experiments/sampling.h"

namespace thaw {

namespace {

std::vector<std::string> held_out_captions(const Experiment& experiment, std::int64_t n) {
  const DatasetPtr examples = experiment.held_out();
  if (!examples)
    throw ConfigError("dataset: has no split \"test\" whose captions could be asked for; give prompt=\"...\".");
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < n; ++i)
    captions.push_back(text_of(examples->get(i % examples->size()).condition.at("caption")));
  return captions;
}

Batch first_examples(const Dataset& data, std::int64_t n) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < n; ++i) indices.push_back(i % data.size());
  return gather(data, indices);
}

// Of the examples [0, n), with their own labels.
void give_examples(const Experiment& experiment, SampleRequest& request, bool takes_labels) {
  const auto n = static_cast<std::int64_t>(request.samples.size());
  const DatasetPtr held_out = experiment.held_out();
  const Batch examples = first_examples(held_out ? *held_out : *experiment.dataset(), n);
  const at::Tensor x = experiment.codec()->encode(examples.data);
  const at::Tensor masks = task_masks(*experiment.task(), sampled_shape(experiment), request.seed, request.samples);
  request.given = masks.size(2) == x.size(2) ? GivenPart{x, masks} : placed(x, masks);
  if (!takes_labels) return;
  const at::Tensor labels = examples.condition.at("label");
  for (std::int64_t i = 0; i < n; ++i) request.labels[static_cast<std::size_t>(i)] = labels[i].item<std::int64_t>();
}

}  // namespace

const std::vector<Option>& sampling_options() {
  static const std::vector<Option> options{
      {"micro_batch", std::int64_t{50}, "samples at a time; part of their identity to the bit", 1, 1e6},
      {"path",
       std::string("brownian"),
       "noise of stochastic samplers: one Brownian path, seen alike by any number of steps, or independent draws, "
       "which are cheaper",
       0,
       0,
       {"brownian", "independent"}},
      {"length", std::int64_t{0},
       "points of a cloud, steps of a sound, frames of a clip that a sample has; 0: as many as the data", 0, 1e9},
      {"grown_from", std::int64_t{0},
       "samples longer than this are drawn at this length, repeated up to theirs, noised and denoised again: for more "
       "points than the network was trained on; 0: all are drawn at once",
       0, 1e9},
      {"growth", 0.25, "share of the steps for that, the last of them, at least one; they come to those of the grid",
       1e-3, 1.0},
      {"coarse_noise", 0.1, "share of noise on what the second network of a cascade is told", 0.0, 1.0}};
  return options;
}

Settings sampling_settings(const Config& config) {
  return config.section("sampling").read(sampling_options(), "section sampling", std::vector<std::string>{"levels"});
}

std::vector<std::int64_t> sampled_shape(const Experiment& experiment) {
  std::vector<std::int64_t> shape = experiment.data_spec().shape;
  const std::int64_t length = sampling_settings(experiment.config()).integer("length");
  if (length > 0 && shape.size() > 1) shape[1] = length;
  return shape;
}

namespace {

void expect_can_be_repeated(const Experiment& experiment, const Settings& settings) {
  if (latent_globals(*experiment.codec()) > 0)
    settings.fail("grown_from", "latents with columns of the sample as a whole are drawn whole.");
  if (experiment.config().section("guidance").has("measurement"))
    settings.fail("grown_from", "what was measured is of samples of one length. Use sampling.grown_from=0.");
}

// Throws ConfigError naming the setting where the network takes no samples of its length.
void expect_draws(const Model& model, const Settings& settings, const char* name) {
  std::vector<std::int64_t> shape = model.spec.shape;
  shape[1] = settings.integer(name);
  const auto refuse = [&](const std::string& why) {
    settings.fail(name, concat(shape[1], ": this network draws no samples of ", at::IntArrayRef(shape), why));
  };
  std::vector<std::int64_t> batch = shape;
  batch.insert(batch.begin(), 1);
  try {
    const c10::NoGradGuard no_grad;
    const auto& weights = model.backbone->parameters().all();
    const at::ScalarType type = weights.empty() ? at::kFloat : weights.front().second.scalar_type();
    const at::Tensor x = at::zeros(batch, at::TensorOptions(model.device).dtype(type));
    const at::Tensor noise = at::zeros({1}, at::TensorOptions(model.device));
    Condition none;
    for (const std::string& number : model.backbone->takes_numbers())
      none[number] = at::full_like(noise, std::numeric_limits<double>::quiet_NaN());
    if (model.backbone->forward(x, noise, none).sizes().slice(2) != x.sizes().slice(2)) refuse(".");
  } catch (const c10::Error& error) {
    refuse(concat(" (", error.what_without_backtrace(), ")."));
  }
}

}  // namespace

void take_length(const Experiment& experiment, Model& model) {
  const Settings settings = sampling_settings(experiment.config());
  for (const char* name : {"length", "grown_from"}) {
    const std::int64_t length = settings.integer(name);
    if (length == 0 || (model.spec.shape.size() > 1 && length == model.spec.shape[1])) continue;
    if (model.spec.shape.size() < 2) settings.fail(name, "samples of one number have no length.");
    if (coarse_factor(experiment) > 0 || is_told_of_sample(experiment))
      settings.fail(name, "samples that are told of examples are as long as these.");
    if (name == std::string("grown_from")) expect_can_be_repeated(experiment, settings);
    expect_draws(model, settings, name);
  }
  model.spec.shape = sampled_shape(experiment);
}

namespace {

// The backbone's settings where it has an option of this name.
std::optional<Settings> backbone_with(const Experiment& experiment, const char* name) {
  const Config section = experiment.config().section("backbone");
  const BackboneRegistry& backbones = experiment.catalog().backbones;
  const auto& entry = backbones.find(section, "unet");
  if (std::ranges::none_of(entry.info.options, [&](const Option& option) { return option.name == name; })) return {};
  return backbones.read(section, entry);
}

void tell_numbers(const Experiment& experiment, const Condition& told, SampleRequest& request) {
  const std::vector<std::string> names = told_numbers(experiment);
  if (names.empty()) return;
  if (!told.empty()) {
    for (const auto& [name, number_N] : told) request.condition[name] = number_N;
    return;
  }
  const DatasetPtr held_out = experiment.held_out();
  const Dataset& data = held_out ? *held_out : *experiment.dataset();
  const Batch examples = first_examples(data, static_cast<std::int64_t>(request.samples.size()));
  for (const std::string& name : names) {
    const auto found = examples.condition.find(name);
    if (found == examples.condition.end())
      throw ConfigError(concat("dataset: its examples have no ", name, ", which backbone.numbers names."));
    request.condition[name] = found->second;
  }
}

}  // namespace

std::int64_t coarse_factor(const Experiment& experiment) {
  const std::optional<Settings> settings = backbone_with(experiment, "coarse");
  return settings ? settings->integer("coarse") : 0;
}

bool is_told_of_sample(const Experiment& experiment) {
  const std::optional<Settings> settings = backbone_with(experiment, "told_of_sample");
  return settings && settings->text("told_of_sample") != "nothing";
}

std::vector<std::string> told_numbers(const Experiment& experiment) {
  const std::optional<Settings> settings = backbone_with(experiment, "numbers");
  return settings ? settings->texts("numbers") : std::vector<std::string>{};
}

bool samples_are_paired(const Experiment& experiment) {
  if (!experiment.is_denoiser() || sampled_shape(experiment) != experiment.data_spec().shape) return false;
  return coarse_factor(experiment) > 0 || is_told_of_sample(experiment) || (experiment.task() && experiment.held_out());
}

at::Tensor held_out_examples(const Experiment& experiment, std::int64_t n) {
  const DatasetPtr data = experiment.held_out();
  if (!data) throw ConfigError("dataset: has no split \"test\" whose examples a second network could be told.");
  return experiment.codec()->encode(first_examples(*data, n).data);
}

SampleRequest plain_request(const Experiment& experiment, std::int64_t n, std::uint64_t first_sample) {
  const Settings settings = sampling_settings(experiment.config());
  SampleRequest request;
  request.solver = experiment.solver();
  request.grid = experiment.grid();
  request.start_scale = experiment.start_scale();
  request.guidance = experiment.guidance();
  request.thresholding = experiment.thresholding();
  request.seed = experiment.seed();
  request.micro_batch = experiment.micro_batch();
  request.path_kind = experiment.path_kind();
  request.is_double = experiment.is_double();
  request.coarse_noise = settings.number("coarse_noise");
  request.level_map = experiment.level_map();
  request.growth = {settings.integer("grown_from"), settings.number("growth")};
  for (std::int64_t i = 0; i < n; ++i) request.samples.push_back(first_sample + static_cast<std::uint64_t>(i));
  return request;
}

SampleRequest make_request(const Experiment& experiment, std::int64_t n, std::int64_t label, std::uint64_t first_sample,
                           const std::string& prompt, bool gives_examples, const Condition& told) {
  SampleRequest request = plain_request(experiment, n, first_sample);
  const std::int64_t classes = experiment.data_spec().num_classes;
  if (label >= classes && label >= 0)
    throw ConfigError(concat("command line: label: must be below ", classes, ", got ", label, "."));
  if (classes > 0)
    for (std::int64_t i = 0; i < n; ++i) request.labels.push_back(label >= 0 ? label : i % classes);
  const bool has_captions = experiment.data_spec().caption_bytes > 0;
  if (!has_captions && !prompt.empty()) throw ConfigError("command line: prompt: this model reads no captions.");
  if (has_captions)
    request.captions = prompt.empty() ? held_out_captions(experiment, n)
                                      : std::vector<std::string>(static_cast<std::size_t>(n), prompt);
  if (coarse_factor(experiment) > 0 && prompt.empty())
    request.coarse = coarse_of(held_out_examples(experiment, n), coarse_factor(experiment));
  tell_numbers(experiment, told, request);
  if (is_told_of_sample(experiment)) request.told_of = held_out_examples(experiment, n);
  if (experiment.task() && gives_examples) give_examples(experiment, request, classes > 0 && label < 0);
  return request;
}

}  // namespace thaw
