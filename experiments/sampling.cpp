#include "experiments/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/coarse.h"
#include "core/math/philox.h"
#include "core/told_of_sample.h"

namespace thaw {

namespace {

constexpr std::uint32_t kCoarseDraw = 1;  // of Purpose::kStart; 0 is the start

void expect_finite(const at::Tensor& x, std::int64_t first) {
  const at::Tensor is_finite = at::isfinite(x).flatten(1).all(1);
  if (is_finite.all().item<bool>()) return;
  const at::Tensor bad = at::nonzero(at::logical_not(is_finite)).flatten();
  throw NumbersError(concat("sampling: sample ", first + bad[0].item<std::int64_t>(), " is not finite (", bad.numel(),
                            " of ", x.size(0), " in its batch)."));
}

// The first state of the micro-batch that begins at sample `first`, of a run from `level`.
Latent start_state(const SampleRequest& request, const Level& level, const Latent& like, const NoiseSource& noise,
                   std::int64_t first) {
  const Editing& editing = request.editing;
  const double spread = std::hypot(level.alpha, level.sigma);
  if (!request.noise.defined() && !editing.starts_from_known && request.start_scale == 0.0)
    return noise.start(like, level);
  constexpr Level kUnit{0.0, 1.0};
  Latent x = request.noise.defined() ? Latent::of(rows_of(request.noise, first, request.micro_batch, like.main()))
                                     : noise.start(like, kUnit);
  at::Tensor& state = x.streams.front().second;
  if (editing.starts_from_known)
    state = rows_of(editing.known, first, request.micro_batch, like.main()) * level.alpha +
            state * (level.sigma * editing.noise_share);
  else
    state = state * (request.start_scale > 0.0 ? request.start_scale : spread);
  return x;
}

// A negative prompt stands for no prompt: whoever asks for the unconditional branch is answered under it.
Denoiser with_null(Denoiser denoiser, Condition null) {
  return [denoiser = std::move(denoiser), null = std::make_shared<const Condition>(std::move(null))](const Latent& x,
                                                                                                     Query query) {
    std::replace(query.branches.begin(), query.branches.end(), Branch::kUnconditional, Branch::kNegative);
    query.negative = null;
    return denoiser(x, query);
  };
}

// One micro-batch: its samples' names and conditions are those from `first` on, the last one repeated to fill it up,
// since a network rounds differently at another batch size.
class MicroBatch {
 public:
  MicroBatch(const Model& model, const SampleRequest& request, std::int64_t first)
      : request_(request), first_(first), noise_(request.seed, names(first), request.path_kind) {
    Condition condition;
    if (!request.labels.empty()) {
      std::vector<std::int64_t> labels;
      for (std::int64_t i = 0; i < request.micro_batch; ++i) labels.push_back(request.labels[index(first + i)]);
      condition["label"] = at::tensor(labels, at::kLong).to(model.device);
    }
    if (!request.captions.empty()) {
      std::vector<at::Tensor> captions;
      for (std::int64_t i = 0; i < request.micro_batch; ++i)
        captions.push_back(text_bytes(request.captions[index(first + i)], model.spec.caption_bytes));
      condition["caption"] = at::stack(captions).to(model.device);
    }
    if (request.coarse.defined()) tell_coarse_part(condition, model.device);
    if (request.told_of.defined())
      condition =
          with_told_of_sample(*model.backbone, own_rows(request.told_of).to(model.device), std::move(condition));
    if (request.given.data.defined()) {
      given_ = {own_rows(request.given.data), own_rows(request.given.mask)};
      is_told_given_ = model.backbone->takes_given();
      if (is_told_given_) tell_given(condition, given_.data.to(model.device), given_.mask);
    }
    for (const auto& [name, rows] : request.condition) condition[name] = own_rows(rows).to(model.device);
    Condition null = condition;
    for (const auto& [name, rows] : request.null) null[name] = own_rows(rows).to(model.device);
    const Path& own_path = model.parameterisation.schedule->path();
    const GuidedRun run{&model, condition, first, request.micro_batch};
    Denoiser asked = model.denoiser(std::move(condition));
    if (!request.null.empty()) asked = with_null(std::move(asked), std::move(null));
    denoiser_ = with_guidance(std::move(asked), request.guidance, run);
    denoiser_ = on_path(std::move(denoiser_), own_path);
    denoiser_ = with_thresholding(std::move(denoiser_), request.thresholding);
    if (given_.data.defined()) denoiser_ = with_given_part(std::move(denoiser_), given_, !is_told_given_);
    denoiser_ = with_velocity(std::move(denoiser_), *request.grid.path);
  }

  MethodRun run(const Latent& like, std::int64_t count, const Observer& observer) {
    const std::optional<Plan> plan =
        request_.solver.is_adaptive() ? std::nullopt : std::optional(request_.solver(request_.grid));
    const Level begin = plan ? plan->start : request_.grid.front();
    Latent start = start_state(request_, begin, like, noise_, first_);
    if (request_.level_map) return run_apart(plan, start);
    Trace* const trace = request_.trace;
    if (trace != nullptr) {
      trace->begin(start, count);
      denoiser_ = trace->watched(std::move(denoiser_));
    }
    const Observer observe = [&](const Mark& mark, const Latent& x, const Latent& denoised) {
      if (trace != nullptr && mark.kind == MarkKind::kStep) trace->step(x);
      if (trace != nullptr && mark.kind == MarkKind::kCorrected) trace->correct(x);
      if (observer) observer(mark, x, denoised);
    };
    Watch watch(observe);
    const Editing& editing = request_.editing;
    if (editing.mask.defined()) {
      KnownPart part{own_rows(editing.known).to(like.main()), own_rows(editing.mask).to(like.main())};
      if (editing.keeps_start_noise) part.noise = unit_noise(like);
      part.end = plan ? plan->end : request_.grid.back();
      watch.hook = keep_known(std::move(part), noise_);
    }
    if (plan) return kept({run_plan(*plan, denoiser_, std::move(start), noise_, watch), plan->evaluations()});
    return kept(run_method(request_.solver.method(request_.grid), denoiser_, std::move(start), noise_, watch));
  }

 private:
  MethodRun kept(MethodRun run) const {
    if (given_.data.defined()) run.x = Latent::of(keep_given(run.x.main(), given_));
    return run;
  }
  MethodRun run_apart(const std::optional<Plan>& plan, const Latent& start) {
    if (!plan)
      throw ConfigError(concat("sampling.levels: sampler \"", request_.solver.name(),
                               "\" chooses its steps for a whole sample. Use one on a fixed grid."));
    if (request_.trace != nullptr || request_.editing.mask.defined())
      throw ConfigError(concat("sampling.levels: ", request_.trace != nullptr ? "trace=" : "mask=",
                               " needs a state at one level. Use sampling.levels=same."));
    if (!given_.data.defined() || is_told_given_)
      return kept(run_plan_apart(*plan, denoiser_, start, noise_, request_.level_map));
    // Told by its level alone, a given part is what it is from the beginning.
    const at::Tensor is_given = (given_.mask > 0.5).flatten(1).all(0);
    std::vector<bool> is_settled;
    for (std::int64_t k = 0; k < is_given.size(0); ++k) is_settled.push_back(is_given[k].item<bool>());
    const Latent known = Latent::of(keep_given(start.main(), given_));
    return kept(run_plan_apart(*plan, denoiser_, known, noise_, request_.level_map, is_settled));
  }
  at::Tensor own_rows(const at::Tensor& rows) const { return rows_of(rows, first_, request_.micro_batch, rows); }
  at::Tensor unit_noise(const Latent& like) const {
    constexpr Level kUnit{0.0, 1.0};
    return request_.noise.defined() ? own_rows(request_.noise).to(like.main()) : noise_.start(like, kUnit).main();
  }
  std::size_t index(std::int64_t i) const {
    return static_cast<std::size_t>(std::min(i, static_cast<std::int64_t>(request_.samples.size()) - 1));
  }
  // Noise of a sample's own, beside that of its start.
  void tell_coarse_part(Condition& condition, const c10::Device& device) const {
    const at::Tensor coarse = rows_of(request_.coarse, first_, request_.micro_batch, at::empty({}, device));
    at::Tensor eps = at::empty(coarse.sizes(), at::kFloat);
    const auto row = static_cast<std::size_t>(eps.numel() / eps.size(0));
    const std::vector<std::uint64_t> samples = names(first_);
    for (std::size_t i = 0; i < samples.size(); ++i)
      fill_normal({eps.data_ptr<float>() + i * row, row}, {request_.seed, Purpose::kStart, samples[i], kCoarseDraw, 0});
    const std::vector<double> shares(samples.size(), request_.coarse_noise);
    tell_coarse(condition, coarse, eps.to(device), shares);
  }
  std::vector<std::uint64_t> names(std::int64_t first) const {
    std::vector<std::uint64_t> result;
    for (std::int64_t i = 0; i < request_.micro_batch; ++i) result.push_back(request_.samples[index(first + i)]);
    return result;
  }

  const SampleRequest& request_;
  std::int64_t first_;
  NoiseSource noise_;
  GivenPart given_{};
  bool is_told_given_ = false;  // by channels; else by its level
  Denoiser denoiser_;
};

}  // namespace

void sample(const Model& model, const SampleRequest& request, const SampleSink& sink, const Observer& observer) {
  const auto n = static_cast<std::int64_t>(request.samples.size());
  std::optional<Progress> progress;
  if (!request.progress.empty()) progress.emplace(request.progress, n);
  std::vector<std::int64_t> shape = model.spec.shape;
  if (request.positions > 0) shape.at(1) = request.positions;
  shape.insert(shape.begin(), request.micro_batch);
  const Latent like =
      Latent::of(at::empty(shape, at::TensorOptions(model.device).dtype(request.is_double ? at::kDouble : at::kFloat)));
  for (std::int64_t first = 0; first < n; first += request.micro_batch) {
    if (stop_requested()) throw Stopped(concat("sampling stopped after ", first, " of ", n, " samples."));
    const std::int64_t count = std::min(request.micro_batch, n - first);
    const MethodRun run = MicroBatch(model, request, first).run(like, count, observer);
    const at::Tensor part = run.x.main().narrow(0, 0, count).to(at::kCPU);
    expect_finite(part, first);
    sink(part, run.evaluations);
    if (progress) progress->update(first + count);
  }
}

at::Tensor sample_all(const Model& model, const SampleRequest& request) {
  std::vector<at::Tensor> parts;
  sample(model, request, [&](const at::Tensor& x, std::int64_t) { parts.push_back(x); });
  return at::cat(parts);
}

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

void take_length(const Experiment& experiment, Model& model) {
  const Settings settings = sampling_settings(experiment.config());
  const std::int64_t length = settings.integer("length");
  if (length == 0 || (model.spec.shape.size() > 1 && length == model.spec.shape[1])) return;
  if (model.spec.shape.size() < 2) settings.fail("length", "samples of one number have no length.");
  if (coarse_factor(experiment) > 0 || is_told_of_sample(experiment))
    settings.fail("length", "samples that are told of examples are as long as these.");
  model.spec.shape = sampled_shape(experiment);
  std::vector<std::int64_t> shape = model.spec.shape;
  shape.insert(shape.begin(), 1);
  const auto refuse = [&](const std::string& why) {
    settings.fail("length",
                  concat(length, ": this network draws no samples of ", at::IntArrayRef(model.spec.shape), why));
  };
  try {
    const c10::NoGradGuard no_grad;
    const auto& weights = model.backbone->parameters().all();
    const at::ScalarType type = weights.empty() ? at::kFloat : weights.front().second.scalar_type();
    const at::Tensor x = at::zeros(shape, at::TensorOptions(model.device).dtype(type));
    const at::Tensor noise = at::zeros({1}, at::TensorOptions(model.device));
    Condition none;
    for (const std::string& name : model.backbone->takes_numbers())
      none[name] = at::full_like(noise, std::numeric_limits<double>::quiet_NaN());
    if (model.backbone->forward(x, noise, none).sizes().slice(2) != x.sizes().slice(2)) refuse(".");
  } catch (const c10::Error& error) {
    refuse(concat(" (", error.what_without_backtrace(), ")."));
  }
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
  request.coarse_noise = sampling_settings(experiment.config()).number("coarse_noise");
  request.level_map = experiment.level_map();
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
