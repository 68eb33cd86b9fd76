#include "experiments/diffusion_pipeline.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/device.h"
#include "core/io/json_guard.h"
#include "core/lora.h"
#include "experiments/published_schedule.h"
#include "experiments/sampling.h"
#include "experiments/weight_precision.h"
#include "modalities/images/published.h"

namespace thaw {

namespace fs = std::filesystem;
using image::PipelineFamily;

namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr std::int64_t kBandPositions = 1 << 16;  // 64 MiB of 256 channels in each temporary
constexpr double kGuidance = 7.5, kToldGuidance = 3.5;

/// A UNet that fills masks: it sees the mask and the rest of the picture as further channels. Rombach et al. 2022.
class Filling : public Backbone {
 public:
  explicit Filling(std::unique_ptr<Backbone> network) : network_(std::move(network)) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    return network_->forward(at::cat({x, condition.at("filling").to(x.scalar_type())}, 1), noise, condition);
  }
  const Parameters& parameters() const override { return network_->parameters(); }
  bool takes_guidance() const override { return network_->takes_guidance(); }

 private:
  std::unique_ptr<Backbone> network_;
};

image::WeightType weight_type_of(const std::string& name) {
  if (name == "stored") return std::nullopt;
  return name == "bfloat16" ? at::kBFloat16 : name == "float16" ? at::kHalf : at::kFloat;
}

/// A number of a JSON file that its own reader checks elsewhere.
double number_of(const nlohmann::json& values, const char* key, double fallback) {
  return values.contains(key) && values.at(key).is_number() ? values.at(key).get<double>() : fallback;
}

bool is_true(const nlohmann::json& values, const char* key) {
  return values.contains(key) && values.at(key).is_boolean() && values.at(key).get<bool>();
}

/// Layers of a LoRA file for encoders that the pipeline has not.
void note_left_out(const fs::path& lora, const image::PipelineFolder& folder) {
  std::int64_t count = 0;
  for (const char* name : {"text_encoder", "text_encoder_2"})
    if (folder.find(name) == nullptr) count += count_lora_layers(lora, *text::lora_part(name));
  if (count > 0)
    std::fprintf(stderr, "%s: %lld layers are left out: %s has no such text encoder\n", lora.c_str(),
                 static_cast<long long>(count), folder.class_name.c_str());
}

class PipelineRun {
 public:
  PipelineRun(const image::PipelineFolder& folder, const PipelineRequest& request, const Catalog& catalog)
      : folder_(folder), asked_(request), catalog_(catalog), device_(device_from_name(request.device)) {}

  PipelineResult run();

 private:
  const Autoencoder* autoencoder();
  std::unique_ptr<Autoencoder> open_autoencoder() const;
  image::PublishedNetwork open_network() const;
  void choose_shape(const image::PublishedNetwork& network);
  void expect_inputs() const;
  SchedulerCalls scheduler_calls(const nlohmann::json& config) const;
  void read_scheduler();
  void guide(bool is_told);
  void take_picture();
  void add_control();
  void make_samples();
  void place_network();

  const image::PipelineFolder& folder_;
  const PipelineRequest& asked_;
  const Catalog& catalog_;
  c10::Device device_;
  std::unique_ptr<Autoencoder> autoencoder_;
  LatentSpec latent_;
  bool fills_ = false;                    // the network takes the mask as channels
  std::int64_t own_side_ = 0, unit_ = 1;  // of the network in latent positions; positions of a patch
  std::int64_t height_ = 0, width_ = 0;   // in latent positions
  Model model_;
  SampleRequest sampling_;
};

const Autoencoder* PipelineRun::autoencoder() {
  if (!folder_.has_autoencoder()) return nullptr;
  if (!autoencoder_) autoencoder_ = open_autoencoder();
  return autoencoder_.get();
}

std::unique_ptr<Autoencoder> PipelineRun::open_autoencoder() const {
  const image::PipelinePart& part = *folder_.find("vae");
  std::unique_ptr<Autoencoder> opened = image::open_published_autoencoder(part.folder);
  move_weights(opened->parameters(), device_);
  if (asked_.tiling == "blended") return tiled(std::move(opened), {asked_.tile, true});
  if (asked_.tiling == "exact" && !opened->work_in_bands(kBandPositions))
    throw ConfigError(concat("command line: tiling: ", part.class_name, " has off and blended."));
  return opened;
}

image::PublishedNetwork PipelineRun::open_network() const {
  image::PublishedNetwork network =
      image::open_published_network(folder_.denoiser().folder, weight_type_of(asked_.weights), asked_.streams_weights);
  const NamedTensors& weights = network.backbone->parameters().all();
  if (asked_.lora.empty()) return network;
  note_left_out(asked_.lora, folder_);
  // A file may be for the text encoders alone.
  const bool is_for_text = count_lora_layers(asked_.lora, LoraPart::kTextEncoder) > 0 ||
                           count_lora_layers(asked_.lora, LoraPart::kTextEncoder2) > 0;
  if (is_for_text && count_lora_layers(asked_.lora, LoraPart::kDenoiser) == 0) return network;
  LoraMerge(weights).set({{load_lora(asked_.lora, weights), asked_.lora_scale}});
  return network;
}

void PipelineRun::choose_shape(const image::PublishedNetwork& network) {
  const std::int64_t channels = network.spec.shape[0];
  latent_ = folder_.has_autoencoder() ? autoencoder()->latent()
                                      : LatentSpec{.data_channels = channels, .channels = channels, .factors = {1, 1}};
  fills_ = channels == 2 * latent_.channels + 1;
  if (channels != latent_.channels && !fills_)
    throw DataError(concat(folder_.path.string(), ": the network takes ", channels, " channels, its autoencoder has ",
                           latent_.channels, " (or ", 2 * latent_.channels + 1, " for a network that fills masks)."));
  own_side_ = network.spec.shape[1];
  unit_ = folder_.denoiser().name == "transformer" ? 2 : 1;
  const std::int64_t factor = latent_.factors[0];
  height_ = network.spec.shape[1];
  width_ = network.spec.shape[2];
  for (const auto& [pixels, side] : {std::pair(asked_.size[1], &height_), std::pair(asked_.size[0], &width_)}) {
    if (pixels == 0) continue;
    if (pixels % (factor * unit_) != 0)
      throw ConfigError(
          concat("command line: size: sides must be multiples of ", factor * unit_, ", got ", pixels, "."));
    *side = pixels / factor;
  }
}

void PipelineRun::expect_inputs() const {
  const std::int64_t factor = latent_.factors[0];
  const auto expect = [](const at::Tensor& x, const char* name, std::int64_t channels, std::int64_t h, std::int64_t w) {
    if (x.defined() && (x.dim() != 4 || (channels > 0 && x.size(1) != channels) || x.size(2) != h || x.size(3) != w))
      throw DataError(concat(name, ": is ", x.sizes(), ", expected [N, ", channels > 0 ? concat(channels) : "C", ", ",
                             h, ", ", w, "]."));
  };
  const PipelineInputs& inputs = asked_.inputs;
  expect(inputs.start, "latents", latent_.channels, height_, width_);
  expect(inputs.picture_latents, "image", latent_.channels, height_, width_);
  expect(inputs.picture, "image", latent_.data_channels, factor * height_, factor * width_);
  expect(inputs.mask, "mask", 1, factor * height_, factor * width_);
  expect(inputs.control, "control", 0, factor * height_, factor * width_);
  const bool has_picture = inputs.picture.defined() || inputs.picture_latents.defined();
  if (fills_ && !(inputs.picture.defined() && inputs.mask.defined()))
    throw ConfigError("command line: this network fills masks: it needs image=FILE and mask=FILE.");
  if (inputs.mask.defined() && !has_picture) throw ConfigError("command line: mask: needs image=FILE.");
  if (asked_.strength < 1.0 && !has_picture) throw ConfigError("command line: strength: needs image=FILE.");
  if (has_picture && !inputs.mask.defined() && asked_.strength >= 1.0)
    throw ConfigError("command line: image: needs strength below 1, or mask=FILE: else nothing of it is left.");
  if (inputs.control.defined() == asked_.controlnet.empty())
    throw ConfigError("command line: controlnet=FOLDER and control=FILE go together.");
  if (folder_.family != PipelineFamily::kLabels && asked_.label >= 0)
    throw ConfigError(concat("command line: label: ", folder_.class_name, " has no classes."));
  if (folder_.find("text_encoder") == nullptr && !asked_.prompt.prompt.empty())
    throw ConfigError(concat("command line: prompt: ", folder_.class_name, " reads no text."));
}

// Black Forest Labs 2024: mu grows with the number of tokens, on the line through two sizes.
SchedulerCalls PipelineRun::scheduler_calls(const nlohmann::json& config) const {
  SchedulerCalls calls;
  if (asked_.strength < 1.0) calls["total_steps"] = static_cast<double>(asked_.steps);
  const bool is_flux = folder_.family == PipelineFamily::kFlux;
  if (is_true(config, "use_dynamic_shifting")) {
    const double few = number_of(config, "base_image_seq_len", 256),
                 many = number_of(config, "max_image_seq_len", 4096);
    const double low = number_of(config, "base_shift", 0.5);
    const double high = number_of(config, "max_shift", is_flux ? 1.15 : 1.16);
    const auto tokens = static_cast<double>((height_ / unit_) * (width_ / unit_));
    calls["mu"] = low + (tokens - few) * (high - low) / (many - few);
  }
  const bool is_euler = config.contains("_class_name") && config.at("_class_name") == "FlowMatchEulerDiscreteScheduler";
  if (is_flux && is_euler && !is_true(config, "use_flow_sigmas")) calls["even_sigmas"] = 1.0;
  return calls;
}

void PipelineRun::read_scheduler() {
  const fs::path path =
      asked_.scheduler.empty() ? folder_.path / "scheduler" / "scheduler_config.json" : asked_.scheduler;
  const std::string text = read_file(path, kMaxConfigBytes);
  const ImportedScheduler scheduler = import_scheduler(text, path.string(), catalog_.schedules, catalog_.samplers,
                                                       scheduler_calls(scheduler_values(text, path.string())));
  const auto steps = static_cast<int>(asked_.steps);
  const Config& sections = asked_.sections;
  sampling_.solver =
      sections.has("sampler") ? catalog_.samplers.create(sections.section("sampler"), "") : scheduler.solver;
  sampling_.grid = scheduler.grid(steps);
  sampling_.start_scale = scheduler.start_scale(steps);
  take_published_schedule(scheduler, sampling_.grid, catalog_, model_.parameterisation);
  model_.parameterisation.conditioning = Conditioning::kTimestep;
  if (sections.has("grid")) {
    const auto& entry = catalog_.grids.find(sections.section("grid"), "trailing");
    Settings settings = catalog_.grids.read(sections.section("grid"), entry);
    settings.set("steps", asked_.steps, settings.where("steps"), true);
    sampling_.grid = entry.make(settings, *model_.parameterisation.schedule);
    sampling_.start_scale = 0.0;
  }
  const std::string yaml = scheduler.thresholding.yaml();
  if (sections.has("thresholding"))
    sampling_.thresholding = catalog_.thresholdings.create(sections.section("thresholding"), "none");
  else if (!yaml.empty())
    sampling_.thresholding = catalog_.thresholdings.create(
        Config::parse("thresholding: " + yaml, path.string()).section("thresholding"), "");
}

void PipelineRun::guide(bool is_told) {
  const GuidanceParts parts{catalog_.guidance, catalog_.measurements};
  Config section = asked_.sections.section("guidance");
  if (asked_.sections.has("guidance")) {
    sampling_.guidance = catalog_.guidance.create(section, "none", parts, section);
    return;
  }
  const double scale = asked_.guidance.value_or(is_told ? kToldGuidance : kGuidance);
  Config own = Config::empty();
  const nlohmann::json network = parse_json_file(folder_.denoiser().folder / "config.json", kMaxConfigBytes);
  const auto told_width = static_cast<std::int64_t>(number_of(network, "time_cond_proj_dim", 0));
  if (is_told)
    sampling_.condition["guidance"] = at::full({1}, scale, at::kFloat);
  else if (told_width > 0)
    sampling_.condition["time_features"] = image::guidance_features(scale, told_width);
  else if (scale > 1.0 && folder_.family != PipelineFamily::kPlain && folder_.family != PipelineFamily::kFlux) {
    own.set("guidance.type", "cfg");
    own.set("guidance.scale", format_double(scale));
  }
  section = own.section("guidance");
  sampling_.guidance = catalog_.guidance.create(section, "none", parts, section);
}

void PipelineRun::take_picture() {
  const PipelineInputs& inputs = asked_.inputs;
  const auto encoded = [&](const at::Tensor& picture) {
    if (!folder_.has_autoencoder()) return picture;
    return latents_for_denoiser(latent_, autoencoder()->encode(picture.to(device_)).mean);
  };
  if (!inputs.picture.defined() && !inputs.picture_latents.defined()) return;
  const at::Tensor known = inputs.picture_latents.defined() ? inputs.picture_latents : encoded(inputs.picture);
  at::Tensor anew;
  if (inputs.mask.defined()) anew = (inputs.mask >= 0.5).to(at::kFloat);
  const at::Tensor anew_here = anew.defined() ? at::upsample_nearest2d(anew, {height_, width_}) : at::Tensor();
  Editing& editing = sampling_.editing;
  editing.known = known.to(at::kCPU);
  if (fills_)
    sampling_.condition["filling"] = at::cat({anew_here, encoded(inputs.picture * (1 - anew)).to(at::kCPU)}, 1);
  else if (anew.defined())
    editing.mask = (1 - anew_here).expand_as(editing.known);
  editing.keeps_start_noise = true;
  if (asked_.strength >= 1.0) return;
  double strength = asked_.strength;
  if (folder_.family == PipelineFamily::kSd3 || folder_.family == PipelineFamily::kFlux) {
    // The pipelines of flows count what is dropped: a step of which a part is left is kept.
    const auto steps = static_cast<double>(sampling_.grid.steps());
    strength = (steps - std::floor(steps - strength * steps) + 0.5) / steps;
  }
  sampling_.grid = last_part(sampling_.grid, strength);
  editing.starts_from_known = true;
}

void PipelineRun::add_control() {
  if (asked_.controlnet.empty()) return;
  std::shared_ptr<const image::ControlNet> control = image::open_published_controlnet(asked_.controlnet);
  if (!asked_.streams_weights) move_weights(control->parameters(), device_);
  model_.backbone = image::with_control(std::move(model_.backbone), {{std::move(control), asked_.control_scale}});
  sampling_.condition["control"] = asked_.inputs.control;
}

void PipelineRun::make_samples() {
  const at::Tensor& start = asked_.inputs.start;
  const std::int64_t n = start.defined() ? start.size(0) : asked_.n, classes = model_.spec.num_classes;
  if (asked_.label >= classes && asked_.label >= 0)
    throw ConfigError(concat("command line: label: must be below ", classes, ", got ", asked_.label, "."));
  for (std::int64_t i = 0; i < n; ++i) {
    sampling_.samples.push_back(static_cast<std::uint64_t>(i));
    if (classes > 0) sampling_.labels.push_back(asked_.label >= 0 ? asked_.label : i % classes);
  }
  sampling_.noise = start;
  sampling_.seed = asked_.seed;
  sampling_.micro_batch = std::min(asked_.micro_batch, n);
  sampling_.is_double = asked_.precision == "float64";
  sampling_.progress = "sample";
}

/// The network, its ControlNet and their weights.
void PipelineRun::place_network() {
  const at::ScalarType stored = model_.backbone->parameters().all().front().second.scalar_type();
  const bool is_double = model_.precision == Precision::kFloat64;
  if (!asked_.streams_weights) move_weights(model_.backbone->parameters(), device_, is_double ? at::kDouble : stored);
  if (fills_) model_.backbone = std::make_unique<Filling>(std::move(model_.backbone));
  add_control();
  if (!asked_.streams_weights) return;
  const at::ScalarType type = is_double ? at::kDouble : weight_type_of(asked_.weights).value_or(stored);
  model_.backbone = nn::streamed(std::move(model_.backbone), device_, type, asked_.streamed);
}

PipelineResult PipelineRun::run() {
  const c10::NoGradGuard no_gradient;
  image::PipelinePrompt asked = asked_.prompt;
  asked.options.lora = asked_.lora;
  asked.options.lora_scale = asked_.lora_scale;
  image::PromptConditions prompt = image::encode_prompt(folder_, asked);
  image::PublishedNetwork network = open_network();
  choose_shape(network);
  expect_inputs();
  sampling_.condition = std::move(prompt.condition);
  sampling_.null = std::move(prompt.null);
  const std::int64_t factor = latent_.factors[0];
  for (auto& [name, tensor] : image::size_conditions(folder_, factor * height_, factor * width_, own_side_))
    sampling_.condition[name] = tensor;
  model_.spec = {{latent_.channels, height_, width_}, network.spec.num_classes};
  model_.device = device_;
  const at::ScalarType stored = network.backbone->parameters().all().front().second.scalar_type();
  model_.precision = precision_with_weights(asked_.precision, device_, weight_type_of(asked_.weights).value_or(stored));
  model_.parameterisation.learns_variance = network.learns_variance && !fills_;
  read_scheduler();
  guide(network.backbone->takes_guidance());
  model_.backbone = std::move(network.backbone);
  place_network();
  take_picture();
  make_samples();
  const at::Tensor latents = sample_all(model_, sampling_);
  if (!folder_.has_autoencoder()) return {latents, latents};
  std::vector<at::Tensor> pictures;
  for (const at::Tensor& one : latents.to(device_, at::kFloat).split(1))
    pictures.push_back(autoencoder()->decode(latents_from_denoiser(latent_, one)).to(at::kCPU));
  return {latents, at::cat(pictures)};
}

}  // namespace

PipelineResult run_diffusion_pipeline(const image::PipelineFolder& folder, const PipelineRequest& request,
                                      const Catalog& catalog) {
  return PipelineRun(folder, request, catalog).run();
}

}  // namespace thaw
