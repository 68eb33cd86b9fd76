// Everything that samples or trains, on every kind of data: whatever the catalog lists runs unchanged on each case, on
// a network in small with weights that are not those it starts with.

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/checkpoint.h"
#include "experiments/pipeline.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"
#include "tests/matrix/sines.h"

using namespace thaw;
using namespace thaw::test;

namespace {

/// A kind of data with a network for it; the rest is the same for all.
struct Case {
  std::string name, data, backbone;
};

const Case kDigits{"digits", "dataset: {type: mnist, path: data/mnist, split: train, range: [0, 64]}",
                   "{type: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: [14]}"};
const Case kCaptions{"latents told by captions",
                     "dataset: {type: captioned_digits, path: data/mnist, split: train, size: 8}\n"
                     "codec: {type: latent, autoencoder: models/captioned-digits/autoencoder}",
                     "{type: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: [8], words: [a, small, large], "
                     "text_features: 8, text_depth: 1, text_heads: 1}"};

const Case kClips{
    "clips",
    "dataset: {type: moving_digits, path: data/mnist, split: train, size: 8, side: 16, digit: 12, frames: "
    "4, digits: 1, told: label}\ncodec: clip",
    "{type: unet3d, width: 8, multipliers: [1, 2], blocks: 1, attention: [8]}"};

const Case kGoingOn{"clips that go on", kClips.data,
                    "{type: unet3d, width: 8, multipliers: [1, 2], blocks: 1, attention: [8], given: true}\n"
                    "task: {type: continuation, first: [1, 2]}"};

Case clips_on(const std::string& network) {
  return {network, kClips.data, "{type: " + network + ", patch: 4, features: 16, depth: 2, heads: 2}"};
}

Case sounds_on(const std::string& network) {
  return {"sounds", "dataset: sines\ncodec: waveform", network};
}
const Case kSounds =
    sounds_on("{type: unet1d, width: 8, multipliers: [1, 2], factor: 4, attention: [16], head_width: 8}");

/// What is listed, and data that no file is needed for.
const Catalog& matrix_catalog() {
  static const Catalog catalog = [] {
    Catalog made = make_catalog();
    register_sines(made.datasets);
    return made;
  }();
  return catalog;
}

Case clouds_on(const std::string& network) {
  return {network,
          "dataset: {type: parametric_shapes, size: 8, points: 24}\ncodec: {type: point_cloud, normalise: unit-box}",
          "{type: " + network + "}"};
}

std::string yaml_of(const Case& data) {
  return "seed: 3\nprecision: float32\n" + data.data + "\nbackbone: " + data.backbone + R"(
schedule: cosine
objective: {type: denoising, prediction: v}
train: {steps: 2, batch: 4, checkpoint_every: 2, log_every: 1, cache_latents: false, optimizer: {warmup: 1}}
sampler: ddim
grid: {type: trailing, steps: 3}
sampling: {micro_batch: 2}
evaluate: {metrics: []}
)";
}

Experiment experiment_of(const Case& data, const std::vector<std::string>& settings) {
  Config config = Config::parse(yaml_of(data), "matrix.yaml");
  apply_overrides(config, settings);
  return Experiment(std::move(config), matrix_catalog());
}

/// Networks start with zeros where their output is made; these do not.
void stir(const Model& model) {
  const c10::NoGradGuard no_grad;
  std::uint64_t index = 0;
  for (const auto& [name, tensor] : model.backbone->parameters().all()) {
    at::Tensor noise = at::empty(tensor.sizes());
    fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())}, {5, Purpose::kOther, index++});
    tensor.add_(noise, 0.02);
  }
}

// Two samples of the encoded shape, all finite and not alike.
void expect_samples(const Experiment& experiment, const Model& model, const SampleRequest& request) {
  const at::Tensor x = sample_all(model, request);
  std::vector<std::int64_t> shape = experiment.data_spec().shape;
  shape.insert(shape.begin(), 2);
  CATCH_CHECK(x.sizes() == at::IntArrayRef(shape));
  CATCH_CHECK(at::isfinite(x).all().item<bool>());
  CATCH_CHECK((x[0] - x[1]).abs().max().item<double>() > 1e-4);
}

/// What an entry needs besides its name. An entry that needs nothing is not here.
using Needs = std::map<std::string, std::vector<std::string>>;

std::vector<std::string> settings_of(const std::string& section, const std::string& name, const Needs& needs) {
  std::vector<std::string> settings{section + "=" + name};
  if (const auto own = needs.find(name); own != needs.end())
    settings.insert(settings.end(), own->second.begin(), own->second.end());
  return settings;
}

std::string trained(const Case& data, const Scratch& scratch, const std::vector<std::string>& settings = {}) {
  const std::string folder = scratch / "base";
  run_pipeline(experiment_of(data, settings), {folder, "test", {"train"}});
  return folder;
}

/// Two steps of every objective that learns to denoise. Returns how many.
int train_by_all(const Case& data) {
  const Scratch scratch("matrix_objectives");
  const std::string teacher = "objective.teacher=" + trained(data, scratch);
  const Needs needs{{"consistency_distillation", {teacher}},
                    {"latent_consistency", {teacher, "backbone.takes_guidance=true"}},
                    {"mean_flow", {"backbone.takes_target=true"}},
                    {"shortcut", {"backbone.takes_target=true"}},
                    {"progressive_distillation", {teacher, "objective.first_steps=2"}},
                    {"reflow", {teacher, "objective.steps=2"}},
                    {"direct_distillation", {teacher, "objective.steps=2"}}};
  int cells = 0;
  for (const std::string& name : matrix_catalog().objectives.names()) {
    if (name == "classification" || name == "autoencoding") continue;
    CATCH_CAPTURE(name);
    const Experiment experiment = experiment_of(data, settings_of("objective", name, needs));
    const std::string folder = scratch / name;
    run_pipeline(experiment, {folder, "test", {"train"}});
    double moved = 0.0;
    const Model model = experiment.make_model();
    std::map<std::string, at::Tensor> before;
    for (const auto& [key, tensor] : model.backbone->parameters().all()) before[key] = tensor.detach();
    for (const auto& [key, tensor] : load_tensors(folder + "/model").tensors)
      if (before.contains(key)) moved += (tensor - before.at(key)).abs().sum().item<double>();
    CATCH_CHECK(moved > 0.0);
    CATCH_CHECK(std::isfinite(moved));
    ++cells;
  }
  return cells;
}

int sample_by_all(const Case& data) {
  const Experiment continuous = experiment_of(data, {}), discrete = experiment_of(data, {"schedule=linear"});
  const Model model = continuous.make_model();
  stir(model);
  int cells = 0;
  for (const auto& entry : matrix_catalog().samplers.entries()) {
    CATCH_CAPTURE(entry.info.name);
    const Experiment& experiment = entry.info.has_trait("needs_timesteps") ? discrete : continuous;
    SampleRequest request = make_request(experiment, 2);
    request.solver = experiment.solver(entry.info.name);
    expect_samples(experiment, model, request);
    ++cells;
  }
  return cells;
}

/// A step of training and two samples on every schedule by every prediction that may be had there.
int schedules_by_predictions(const Case& data, int& refused) {
  const Needs needs{{"betas", {"schedule.betas=[0.01,0.1,0.3,0.6,0.9]"}}};
  int cells = 0;
  const DatasetPtr examples = experiment_of(data, {}).dataset();
  for (const std::string& schedule : matrix_catalog().schedules.names())
    for (const char* prediction : {"noise", "data", "v", "velocity", "score", "edm"}) {
      CATCH_CAPTURE(schedule, prediction);
      std::vector<std::string> settings = settings_of("schedule", schedule, needs);
      settings.push_back(std::string("objective.prediction=") + prediction);
      try {
        const Experiment experiment = experiment_of(data, settings);
        const Model model = experiment.make_model();
        stir(model);
        const Batch batch = gather(*examples, {0, 1});
        const at::Tensor loss =
            experiment.objective()->loss(model, experiment.codec()->encode(batch.data), batch.condition,
                                         {.seed = 1, .step = 1, .batch = 2, .steps = 2});
        CATCH_CHECK(loss.sizes() == at::IntArrayRef{2});
        CATCH_CHECK(at::isfinite(loss).all().item<bool>());
        expect_samples(experiment, model, make_request(experiment, 2));
        ++cells;
      } catch (const ConfigError& error) {
        CATCH_CHECK(std::string(error.what()).find("alpha = 0") != std::string::npos);
        ++refused;
      }
    }
  return cells;
}

int guided_by_all(const Case& data, int& refused) {
  const Scratch scratch("matrix_guidance");
  const std::string weaker = trained(data, scratch);
  const Experiment plain = experiment_of(data, {});
  std::vector<std::int64_t> shape = plain.data_spec().shape;
  shape.insert(shape.begin(), 1);
  save_tensors(scratch / "truth.safetensors", {{"sample", at::full(shape, 0.5)}});
  const std::string truth = "guidance.truth=" + (scratch / "truth.safetensors").string();
  Needs needs{{"embedded", {"backbone.takes_guidance=true"}},
              {"autoguidance", {"guidance.model=" + weaker}},
              {"dps", {truth, "guidance.measurement=inpainting"}},
              {"pigdm", {truth, "guidance.measurement=inpainting"}}};
  if (plain.data_spec().num_classes > 0 && plain.data_spec().shape.size() == 3) {  // classifiers are of pictures
    const std::string folder = scratch / "classifier";
    run_pipeline(experiment_of(data, {"objective=classification", "objective.noisy=true",
                                      "backbone=convolutional_classifier", "backbone.takes_noise=true"}),
                 {folder, "test", {"train"}});
    needs["classifier"] = {"guidance.model=" + folder};
  }
  int cells = 0;
  for (const std::string& name : matrix_catalog().guidance.names()) {
    CATCH_CAPTURE(name);
    try {
      const Experiment experiment = experiment_of(data, settings_of("guidance", name, needs));
      const Model model = experiment.make_model();
      stir(model);
      expect_samples(experiment, model, make_request(experiment, 2));
      ++cells;
    } catch (const ConfigError&) {
      ++refused;
    }
  }
  return cells;
}

/// How many cells of each kind a case has. What is refused is refused with a reason before anything is computed.
struct Cells {
  int objectives = 0, samplers = 0, schedules = 0, refused_schedules = 0, guidance = 0, refused_guidance = 0;
  bool operator==(const Cells&) const = default;
};

Cells cells_of(const Case& data) {
  Cells cells;
  cells.objectives = train_by_all(data);
  cells.samplers = sample_by_all(data);
  cells.schedules = schedules_by_predictions(data, cells.refused_schedules);
  cells.guidance = guided_by_all(data, cells.refused_guidance);
  return cells;
}

}  // namespace

CATCH_TEST_CASE("every objective, sampler, schedule, prediction and guidance works on labelled pictures", "[matrix]") {
  const Cells cells = cells_of(kDigits);
  CATCH_CHECK(cells.objectives == 12);
  CATCH_CHECK(cells.samplers == 71);
  CATCH_CHECK(cells.schedules + cells.refused_schedules == 17 * 6);
  CATCH_CHECK(cells.refused_schedules == 6);  // noise and score where alpha reaches 0: flow, flow_dynamic, trigflow
  CATCH_CHECK(cells.guidance == 11);
}

CATCH_TEST_CASE("every objective, sampler, schedule, prediction and guidance works on clips", "[matrix]") {
  const Cells cells = cells_of(kClips);
  CATCH_CHECK(cells.objectives == 12);
  CATCH_CHECK(cells.samplers == 71);
  CATCH_CHECK(cells.schedules + cells.refused_schedules == 17 * 6);
  CATCH_CHECK(cells.refused_schedules == 6);  // noise and score where alpha reaches 0
  CATCH_CHECK(cells.guidance == 10);
  CATCH_CHECK(cells.refused_guidance == 1);  // there is no classifier of clips
}

CATCH_TEST_CASE("every objective and sampler works on clips whose first frames are given", "[matrix]") {
  CATCH_CHECK(train_by_all(kGoingOn) == 12);
  CATCH_CHECK(sample_by_all(kGoingOn) == 71);
}

CATCH_TEST_CASE("every objective, sampler, schedule, prediction and guidance works on latents told by captions",
                "[matrix]") {
  const Cells cells = cells_of(kCaptions);
  CATCH_CHECK(cells.objectives == 12);
  CATCH_CHECK(cells.samplers == 71);
  CATCH_CHECK(cells.schedules + cells.refused_schedules == 17 * 6);
  CATCH_CHECK(cells.refused_schedules == 6);  // noise and score where alpha reaches 0: flow, flow_dynamic, trigflow
  CATCH_CHECK(cells.guidance == 10);
  CATCH_CHECK(cells.refused_guidance == 1);  // of a classifier: there are no classes
}

// Samplers and schedules see no network, so these need not meet each of them again.
CATCH_TEST_CASE("every objective and guidance works on transformers of clips", "[matrix]") {
  for (const std::string network : {"video_dit", "video_transformer"}) {
    CATCH_CAPTURE(network);
    const Case data = clips_on(network);
    CATCH_CHECK(train_by_all(data) == 12);
    int refused = 0;
    CATCH_CHECK(guided_by_all(data, refused) == 10);
    CATCH_CHECK(refused == 1);  // there is no classifier of clips
  }
}

CATCH_TEST_CASE("every objective, sampler, schedule, prediction and guidance works on sounds", "[matrix]") {
  const Cells cells = cells_of(kSounds);
  CATCH_CHECK(cells.objectives == 12);
  CATCH_CHECK(cells.samplers == 71);
  CATCH_CHECK(cells.schedules + cells.refused_schedules == 17 * 6);
  CATCH_CHECK(cells.refused_schedules == 6);  // noise and score where alpha reaches 0
  CATCH_CHECK(cells.guidance == 10);
  CATCH_CHECK(cells.refused_guidance == 1);  // there is no classifier of sounds
}

CATCH_TEST_CASE("every objective and guidance works on the other networks of sounds", "[matrix]") {
  int refused = 0;
  const Case transformer = sounds_on("{type: sound_transformer, patch: 4, features: 16, depth: 2, heads: 2}");
  CATCH_CHECK(train_by_all(transformer) == 12);
  CATCH_CHECK(guided_by_all(transformer, refused) == 10);
  CATCH_CHECK(refused == 1);  // there is no classifier of sounds
  refused = 0;
  const Case stack = sounds_on("{type: diffwave, width: 8, depth: 4, cycle: 3, embedding: 16}");
  CATCH_CHECK(train_by_all(stack) == 12);
  CATCH_CHECK(guided_by_all(stack, refused) == 8);
  CATCH_CHECK(refused == 3);  // and what weakens attention or layers
}

CATCH_TEST_CASE("every objective and guidance works on networks of clouds", "[matrix]") {
  for (const std::string network :
       {"pointwise, features: 16", "point_transformer, features: 16, depth: 2, heads: 2",
        "point_transformer, features: 16, depth: 2, heads: 2, inducing: 4", "pvcnn, side: 4, features: 8, depth: 1",
        "pvcnn2, width: 0.25, resolution: 0.375"}) {
    CATCH_CAPTURE(network);
    const Case data = clouds_on(network);
    CATCH_CHECK(train_by_all(data) == 12);
    int refused = 0;
    const int guided = guided_by_all(data, refused);
    // No classifier of noisy clouds is there; networks without attention have no layers to perturb.
    const bool attends = !network.starts_with("pointwise") && !network.starts_with("pvcnn,");
    CATCH_CHECK(guided == (attends ? 10 : 8));
    CATCH_CHECK(guided + refused == 11);
  }
}

CATCH_TEST_CASE("every sampler works on clouds", "[matrix]") {
  CATCH_CHECK(sample_by_all(clouds_on("point_transformer, features: 16, depth: 2, heads: 2, inducing: 4")) == 71);
}
