#include "experiments/experiment.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/base/version.h"
#include "core/device.h"
#include "core/latent_codec.h"
#include "experiments/inputs.h"
#include "experiments/model_folder.h"
#include "experiments/published_schedule.h"
#include "experiments/sampling.h"
#include "experiments/told_by_name.h"
#include "experiments/weight_precision.h"

namespace thaw {

namespace {

const std::vector<std::string> kSections{"data_spec", "dataset",  "codec",   "schedule", "objective", "backbone",
                                         "task",      "train",    "sampler", "grid",     "guidance",  "thresholding",
                                         "sampling",  "evaluate", "compare", "report"};

}  // namespace

void apply_overrides(Config& config, const std::vector<std::string>& overrides) {
  static const std::map<std::string, std::string> kShort{
      {"steps", "grid.steps"}, {"n", "evaluate.n"}, {"measured", "guidance.measured"}};
  for (const std::string& text : overrides) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw ConfigError(concat("command line: expected key=value, got \"", text, "\"."));
    std::string key = text.substr(0, equals);
    if (const auto found = kShort.find(key); found != kShort.end()) key = found->second;
    config.set(key, text.substr(equals + 1));
  }
}

Experiment::Experiment(Config config, const Catalog& catalog) : config_(std::move(config)), catalog_(&catalog) {
  config_.forget_resolved();
  read_top();
  read_components();
  read_sampling();
  read_evaluation();
}

void Experiment::read_top() {
  const std::vector<Option> options{
      {"seed", std::int64_t{1}, "of every random number", 0, 9e15},
      {"device", std::string("auto"), "auto, cpu, cuda, cuda:1 ..."},
      {"precision", std::string("auto"), "of networks", 0, 0, {"auto", "float32", "bfloat16", "float64"}},
      {"scheduler", std::string(), "a scheduler_config.json of diffusers, in place of the sections that sample"}};
  const Settings top = config_.read(options, "the top level", kSections);
  seed_ = static_cast<std::uint64_t>(top.integer("seed"));
  device_name_ = top.text("device");
  precision_name_ = top.text("precision");
  is_double_ = precision_name_ == "float64";
  scheduler_path_ = top.text("scheduler");
}

void Experiment::read_components() {
  if (config_.has("data_spec")) {
    const Settings spec =
        config_.section("data_spec")
            .read(std::vector<Option>{{"shape", std::vector<double>{}, "of an encoded sample", 1, 1e6, {}, true},
                                      {"num_classes", std::int64_t{0}, "of its labels", 0, 1e9},
                                      {"caption_bytes", std::int64_t{0}, "of its captions at most", 0, 1e6},
                                      {"class_names", std::vector<std::string>{}, "of its labels, one each, or none"}},
                  "section data_spec");
    spec_ = DataSpec{spec.integers("shape"), spec.integer("num_classes"), spec.integer("caption_bytes"),
                     class_names_from(spec)};
  }
  const Config dataset = config_.section("dataset");
  catalog_->datasets.read(dataset, catalog_->datasets.find(dataset, "mnist"));
  codec_ = catalog_->codecs.create(config_.section("codec"), "unit_range", codec_parts());
  schedule_ = catalog_->schedules.create(config_.section("schedule"), "cosine");

  const Config objective = config_.section("objective");
  const auto& objective_entry = catalog_->objectives.find(objective, "denoising");
  const Settings objective_settings = catalog_->objectives.read(objective, objective_entry);
  objective_ = objective_entry.make(
      objective_settings, {catalog_->weightings, catalog_->level_samplers, model_opener(), model_files}, objective);
  const Config levels = objective.section("levels");
  if (catalog_->level_samplers.contains(levels.type("uniform")) &&
      catalog_->level_samplers.find(levels, "uniform").info.has_trait("importance") &&
      !objective_entry.info.has_trait("importance"))
    levels.fail("type", concat("\"", levels.type(""), "\" learns from losses and corrects them, which objective \"",
                               objective_entry.info.name, "\" does not take into account. Use \"uniform\"."));
  const auto learns = [](const EntryInfo& info) {
    return info.has_trait("classifier")    ? Learns::kClasses
           : info.has_trait("autoencoder") ? Learns::kLatents
                                           : Learns::kDenoising;
  };
  learns_ = learns(objective_entry.info);
  parameterisation_.schedule = schedule_;
  if (is_denoiser()) {
    parameterisation_.prediction = prediction_from_name(objective_settings.text("prediction"));
    parameterisation_.sigma_data = objective_settings.number("sigma_data");
    const auto& names = conditioning_names();
    parameterisation_.conditioning = static_cast<Conditioning>(
        std::find(names.begin(), names.end(), objective_settings.text("conditioning")) - names.begin());
    if (refuses_alpha_zero(parameterisation_.prediction) && schedule_->reaches_alpha_zero())
      objective_settings.fail("prediction", concat("\"", objective_settings.text("prediction"),
                                                   "\" cannot start from alpha = 0 (schedule \"", schedule_->name(),
                                                   "\" reaches it at t = ", format_double(schedule_->t_max()),
                                                   "). Use \"v\" or \"data\"."));
  }
  const Config backbone = config_.section("backbone");
  const auto& backbone_entry = catalog_->backbones.find(backbone, "unet");
  catalog_->backbones.read(backbone, backbone_entry);
  is_pretrained_ = backbone_entry.info.has_trait("pretrained");
  if (learns(backbone_entry.info) != learns_)
    backbone.fail("type", concat("backbone \"", backbone_entry.info.name, "\" does not go with objective \"",
                                 objective_entry.info.name, "\": they are of a denoiser, a classifier or an ",
                                 "autoencoder, and both of the same."));

  const Config train = config_.section("train");
  train_ = train.read(train_options(), "section train", std::vector<std::string>{"optimizer", "ema", "lora"});
  optimizer_ = optimizer_options_from(train.section("optimizer").read(optimizer_options(), "section train.optimizer"));
  ema_ = train.section("ema").read(ema_options(), "section train.ema");
  low_rank_ = low_rank_options_from(train.section("lora").read(low_rank_options(), "section train.lora"));
  if (ema_->integer("snapshot_every") > 0 && ema_->numbers("power").empty())
    ema_->fail("snapshot_every",
               "snapshots are of power-function averages; name two in train.ema.power, for example "
               "[0.05, 0.1].");
}

void Experiment::read_sampling() {
  solver_ = catalog_->samplers.create(config_.section("sampler"), "dpmpp_2m");
  const Config guidance = config_.section("guidance");
  const GuidanceParts parts{catalog_->guidance, catalog_->measurements, guide_opener()};
  guidance_ = catalog_->guidance.create(guidance, "none", parts, guidance);
  const Config section = config_.section("thresholding");
  thresholding_ = catalog_->thresholdings.create(section, "none");
  const Config sampling = config_.section("sampling");
  if (sampling.has("levels")) level_map_ = catalog_->level_maps.create(sampling.section("levels"), "same");
  read_task();
  if (!scheduler_path_.empty()) read_scheduler(scheduler_path_);
  if (is_denoiser() && !solver_.is_adaptive()) solver_(grid());  // what cannot run on this grid says so now
}

void Experiment::read_scheduler(const std::string& path) {
  constexpr std::uint64_t kMaxBytes = 1 << 20;
  scheduler_ = import_scheduler(read_file(path, kMaxBytes), path, catalog_->schedules, catalog_->samplers);
  const ImportedScheduler& made = *scheduler_;
  solver_ = made.solver;
  if (const std::string yaml = made.thresholding.yaml(); !yaml.empty())
    thresholding_ =
        catalog_->thresholdings.create(Config::parse("thresholding: " + yaml, path).section("thresholding"), "");
  // A model of ours keeps what it was trained as; a published network is what the scheduler beside it says.
  const Config backbone = config_.section("backbone");
  if (!is_pretrained_ || catalog_->backbones.find(backbone, "unet").info.has_trait("exact")) return;
  take_published_schedule(made, grid(), *catalog_, parameterisation_);
  schedule_ = parameterisation_.schedule;
}

void Experiment::read_evaluation() {
  const Settings sampling = sampling_settings(config_);
  micro_batch_ = sampling.integer("micro_batch");
  path_kind_ = sampling.text("path") == "brownian" ? PathKind::kBrownian : PathKind::kIndependent;
  const Settings evaluate =
      config_.section("evaluate")
          .read(
              std::vector<Option>{
                  {"n", std::int64_t{500}, "samples", 2, 1e7},
                  {"metrics", std::vector<std::string>{}, "names, or \"name option=value ...\""},
                  {"features", std::string(), "model directory of the network whose features frechet compares"},
                  {"judge", std::string(),
                   "model directory of the classifier that recognises samples, or what of prompts they show"}},
              "section evaluate");
  evaluate_ = {evaluate.integer("n"), evaluate.texts("metrics"), evaluate.text("features"), evaluate.text("judge")};
  for (const std::string& text : evaluate_.metrics) {
    const EntryInfo& metric = metric_info(text);
    if (metric.has_trait("needs_features") && evaluate_.features.empty())
      evaluate.fail("metrics", concat(metric.name, " needs evaluate.features, a model directory."));
    if (metric.has_trait("needs_judge") && evaluate_.judge.empty())
      evaluate.fail("metrics", concat(metric.name, " needs evaluate.judge, a model directory."));
  }
  const Settings compare = config_.section("compare").read(
      std::vector<Option>{{"samplers", std::vector<std::string>{},
                           "names, or \"name option=value ...\"; `all` for every planned one; none for no comparison"},
                          {"evaluations", std::vector<double>{5, 10, 20, 50}, "network evaluations a sample", 1, 1e5},
                          {"n", std::int64_t{100}, "samples a cell", 2, 1e6}},
      "section compare");
  compare_ = {expand_samplers(compare), compare.integers("evaluations"), compare.integer("n")};
  title_ = config_.section("report")
               .read(std::vector<Option>{{"title", std::string("Thaw"), "of the page"}}, "section report")
               .text("title");
}

// "all" stands for every sampler that generates on a fixed grid and is nobody's fault kept for comparison.
std::vector<std::string> Experiment::expand_samplers(const Settings& compare) const {
  std::vector<std::string> names;
  for (const std::string& name : compare.texts("samplers")) {
    if (name == "all") {
      for (const auto& entry : catalog_->samplers.entries())
        if (!entry.info.has_trait("inverts") && !entry.info.has_trait("compat") && !entry.info.has_trait("adaptive"))
          names.push_back(entry.info.name);
    } else {
      solver(name);  // refused here and now
      names.push_back(name);
    }
  }
  return names;
}

// The first place where data and codec meet.
DatasetPtr Experiment::checked(DatasetPtr dataset) const {
  report_problems(*dataset, 0);
  codec_->expect_data(*dataset);
  return dataset;
}

DatasetPtr Experiment::dataset() const {
  if (!dataset_) dataset_ = checked(catalog_->datasets.create(config_.section("dataset"), "mnist"));
  return dataset_;
}

DatasetPtr Experiment::held_out() const {
  if (held_out_) return held_out_;
  const Config section = config_.section("dataset");
  const auto& entry = catalog_->datasets.find(section, "mnist");
  const auto has = [&](const char* name) {
    return std::ranges::any_of(entry.info.options, [&](const Option& option) { return option.name == name; });
  };
  if (!has("split")) return nullptr;
  Settings settings = catalog_->datasets.read(section, entry);
  settings.set("split", std::string("test"), settings.where("split"), false);
  if (has("range")) settings.set("range", std::vector<double>{}, settings.where("range"), false);
  held_out_ = checked(entry.make(settings));
  if (held_out_->size() == 0) held_out_ = nullptr;  // a split that nothing falls into
  return held_out_;
}

DataSpec Experiment::data_spec() const {
  if (!spec_) {
    const Config backbone = config_.section("backbone");
    const auto& entry = catalog_->backbones.find(backbone, "unet");
    if (entry.info.has_trait("own_shape")) {
      spec_ = entry.make(catalog_->backbones.read(backbone, entry), DataSpec{}, seed_)->own_spec();
      return *spec_;
    }
    const DatasetPtr data = dataset();
    if (data->size() == 0) throw DataError("dataset: holds no examples.");
    const Example first = data->get(0);
    const auto caption = first.condition.find("caption");
    spec_ = DataSpec{codec_->encoded_shape(first.data.sizes().vec()), data->num_classes(),
                     caption == first.condition.end() ? 0 : caption->second.numel(),
                     fit_class_names(data->class_names(), data->num_classes())};
  }
  return *spec_;
}

Model Experiment::make_model() const {
  const c10::Device device = device_from_name(device_name_);
  Model model{data_spec(), parameterisation_, nullptr, device, precision_from_name(precision_name_, device)};
  const Config backbone = config_.section("backbone");
  const auto& entry = catalog_->backbones.find(backbone, "unet");
  if (is_denoiser()) expect_globals(entry.info, catalog_->backbones.read(backbone, entry), *codec_);
  model.backbone = catalog_->backbones.create(backbone, "unet", model.spec, seed_);
  model.parameterisation.learns_variance = model.backbone->learns_variance();
  if (task_)
    task_->mask(model.spec.shape, {seed_, Purpose::kTrainCondition, 0, 0, 0});  // too small a sample says so now
  // A published network's weights are of the type that backbone.weights asks for, ours are made as float32.
  const NamedTensors& weights = model.backbone->parameters().all();
  const c10::ScalarType stored = weights.empty() ? at::kFloat : weights.front().second.scalar_type();
  model.precision = precision_with_weights(precision_name_, device, stored);
  move_weights(model.backbone->parameters(), device, model.precision == Precision::kFloat64 ? at::kDouble : stored);
  return model;
}

namespace {

// "name option=value ..." as the section of a component; `key` names the list it stands in.
Config section_of(const std::string& text, const char* key) {
  const std::vector<std::string> words = split_words(text);
  Config section = Config::empty(concat(key, ": \"", text, "\""));
  if (!words.empty()) section.set("type", words.front());
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    if (equals == std::string::npos || equals == 0)
      section.fail("", concat("expected option=value after the name, got \"", words[i], "\"."));
    section.set(words[i].substr(0, equals), words[i].substr(equals + 1));
  }
  return section;
}

}  // namespace

Solver Experiment::solver(const std::string& text) const {
  if (config_.section("sampler").type("dpmpp_2m") == text) return solver_;
  return catalog_->samplers.create(section_of(text, "compare.samplers"), "");
}

const EntryInfo& Experiment::metric_info(const std::string& text) const {
  const Config section = section_of(text, "evaluate.metrics");
  const auto& entry = catalog_->metrics.find(section);
  catalog_->metrics.read(section, entry);
  return entry.info;
}

std::vector<std::filesystem::path> Experiment::metric_files() const {
  std::vector<std::filesystem::path> files;
  for (const std::string& text : evaluate_.metrics) {
    const Config section = section_of(text, "evaluate.metrics");
    const auto& entry = catalog_->metrics.find(section);
    const Settings settings = catalog_->metrics.read(section, entry);
    for (const Option& option : entry.info.options)
      if (option.name == "network" && !settings.text("network").empty()) files.emplace_back(settings.text("network"));
  }
  return files;
}

MetricPtr Experiment::metric(const std::string& text, const MetricParts& parts) const {
  return catalog_->metrics.create(section_of(text, "evaluate.metrics"), "", parts);
}

Grid Experiment::grid(std::int64_t steps) const {
  const Config section = config_.section("grid");
  const auto& entry = catalog_->grids.find(section, "trailing");
  Settings settings = catalog_->grids.read(section, entry);
  if (steps > 0) settings.set("steps", steps, settings.where("steps"), true);
  if (scheduler_) return scheduler_->grid(static_cast<int>(settings.integer("steps")));
  return entry.make(settings, *schedule_);
}

double Experiment::start_scale(std::int64_t steps) const {
  if (!scheduler_) return 0.0;
  const Config section = config_.section("grid");
  const Settings settings = catalog_->grids.read(section, catalog_->grids.find(section, "trailing"));
  return scheduler_->start_scale(static_cast<int>(steps > 0 ? steps : settings.integer("steps")));
}

DatasetPtr Experiment::encoded_training_data() const {
  InputHashes inputs(user_cache() / "latents" / "inputs.json");
  const std::string key = concat(
      version(), "\n", precision_name(precision_from_name(precision_name_, device_from_name(device_name_))), "\n",
      hash_of(std::vector<std::string>{"dataset", "codec"}), "\n",
      inputs.of(concat("codec ", content_hash(config_.chosen_in(std::vector<std::string>{"codec"}))), codec_->files()),
      "\n",
      inputs.of(concat("data ", config_.section("dataset").type("mnist")), dataset()->files(),
                InputHashes::Reading::kPieces));
  make_folder(user_cache() / "latents");
  inputs.save();
  return encoded_dataset(dataset(), *codec_, user_cache() / "latents" / concat(content_hash(key), ".safetensors"));
}

std::shared_ptr<LowRankWeights> Experiment::low_rank(const Model& model) const {
  if (!is_low_rank()) return nullptr;
  return std::make_shared<LowRankWeights>(model.backbone->parameters().all(), low_rank_, seed_);
}

TrainJob Experiment::train_job(Model& model, const std::filesystem::path& folder) const {
  if (is_double_) throw ConfigError("precision: float64 is for sampling and measuring; train in float32 or bfloat16.");
  if (!trains())
    throw ConfigError(concat("backbone: \"", config_.section("backbone").type("unet"),
                             "\" brings its weights along; low-rank changes of them train with train.lora.rank=4."));
  expect_serves(*objective_, model);
  TrainJob job;
  job.model = &model;
  job.objective = objective_;
  job.is_encoded = codec_->is_costly() && train_->flag("cache_latents");
  job.dataset = job.is_encoded ? encoded_training_data() : dataset();
  job.codec = codec_;
  job.task = task_;
  job.seed = seed_;
  job.steps = train_->integer("steps");
  job.batch = train_->integer("batch");
  job.micro_batch = train_->integer("micro_batch");
  job.length = train_->integer("length");
  if (job.length > 0 && latent_globals(*codec_) > 0)
    train_->fail("length", "latents with columns of the sample as a whole are trained on whole.");
  job.checkpoint_every = train_->integer("checkpoint_every");
  job.preview_every = train_->integer("preview_every");
  job.validate_every = train_->integer("validate_every");
  job.log_every = train_->integer("log_every");
  job.optimizer = optimizer_;
  job.ema_decay = ema_->number("decay");
  job.more_decays = ema_->numbers("more_decays");
  job.power_stds = ema_->numbers("power");
  job.snapshot_every = ema_->integer("snapshot_every");
  job.ahead = {train_->integer("prefetch"), train_->integer("loader_threads")};
  job.on_not_finite = train_->text("on_not_finite");
  job.folder = folder;
  if (job.validate_every > 0) job.held_out = held_out();
  return job;
}

std::string Experiment::hash_of(std::span<const std::string> sections) const {
  return content_hash(config_.chosen_in(sections));
}

}  // namespace thaw
