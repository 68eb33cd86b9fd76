#include "experiments/model_folder.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "experiments/published_networks.h"
#include "experiments/sampling.h"
#include "modalities/audio/published.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

// A published folder: the network's own, or a pipeline's with the network in unet/ or transformer/.
std::optional<fs::path> published_network(const fs::path& path) {
  for (const char* part : {"", "unet", "transformer"})
    if (fs::exists(path / part / "config.json")) return part[0] == '\0' ? path : path / part;
  return std::nullopt;
}

// The configuration that stands for a published network: the betas of Ho et al. 2020 unless overridden.
Config published_config(const fs::path& network) {
  Config config = Config::empty(network.string());
  config.set("backbone.type", "published");
  config.set("backbone.path", nlohmann::json(network.string()).dump());  // quoted as YAML takes it
  config.set("schedule", "linear");
  config.set("objective.prediction", "noise");
  config.set("objective.conditioning", "timestep");
  config.set("sampler", "ddim");
  const std::string class_name = open_published_config(network, published_class_names()).class_name;
  if (audio::published_denoisers().contains(class_name)) config.set("codec", "waveform");
  return config;
}

// What a path names: a configuration, and the weights that go with it (none where the backbone brings its own).
struct Source {
  Config config;
  fs::path weights{};
};

Source find_source(const fs::path& path) {
  if (fs::is_regular_file(path)) {
    Config config = Config::load(path);
    const std::string model = config.take_text("model");
    if (model.empty()) return {config};
    if (fs::is_regular_file(model)) config.fail("model", concat("\"", model, "\" is no model directory."));
    Source source = find_source(model);
    source.config.overlay(config);
    return source;
  }
  fs::path folder = path;
  if (!fs::exists(folder / "thaw.yaml") && fs::exists(folder / "model" / "thaw.yaml")) folder /= "model";
  if (fs::exists(folder / "thaw.yaml")) return {Config::load(folder / "thaw.yaml"), folder / "model.safetensors"};
  if (const auto network = published_network(path)) return {published_config(*network)};
  throw DataError(concat(path.string(),
                         ": is no model directory (no thaw.yaml, no config.json) and no finished run (no "
                         "model/)."));
}

}  // namespace

LoadedModel open_model(const fs::path& path, const Catalog& catalog, const std::vector<std::string>& overrides) {
  Source source = find_source(path);
  apply_overrides(source.config, overrides);
  LoadedModel loaded;
  loaded.experiment = std::make_unique<Experiment>(std::move(source.config), catalog);
  if (source.weights.empty() && !loaded.experiment->is_pretrained())
    throw DataError(concat(path.string(),
                           ": is a configuration whose network has no weights yet; train it with `thaw run ",
                           path.string(), "` and name the run folder."));
  loaded.model = loaded.experiment->make_model();
  if (!source.weights.empty())
    assign(loaded.model.backbone->parameters().all(), load_tensors(source.weights).tensors, source.weights.string());
  if (loaded.experiment->is_denoiser()) take_length(*loaded.experiment, loaded.model);
  return loaded;
}

void expect_denoiser(const Experiment& experiment, const std::string& path, const std::string& consequence) {
  if (experiment.is_denoiser()) return;
  throw DataError(
      concat(path, ": is ", experiment.is_classifier() ? "a classifier" : "an autoencoder", "; ", consequence));
}

void load_checkpoint_average(Model& model, const fs::path& run, std::int64_t step) {
  const fs::path path = checkpoint_path(run / "checkpoints", step, ".safetensors");
  if (!fs::exists(path)) throw DataError(concat(path.string(), ": no such checkpoint; a run keeps its newest ones."));
  NamedTensors average;
  const std::string prefix = "ema.";
  for (const auto& [name, tensor] : load_tensors(path).tensors)
    if (name.starts_with(prefix)) average.emplace_back(name.substr(prefix.size()), tensor);
  assign(model.backbone->parameters().all(), average, path.string());
}

void save_model(const fs::path& folder, const Experiment& experiment, const Model& model, const std::string& type,
                const std::vector<std::pair<std::string, std::string>>& facts) {
  NamedTensors weights;
  for (const auto& [name, tensor] : model.backbone->parameters().all())
    weights.emplace_back(name, tensor.detach().to(at::kCPU, type == "float16" ? at::kHalf : at::kFloat));
  make_folder(folder);
  save_tensors(folder / "model.safetensors", weights, {{"format", "thaw"}});
  std::string yaml = experiment.config().resolved();
  if (yaml.find("data_spec:") == std::string::npos) {
    const std::vector<std::int64_t> own = experiment.data_spec().shape;  // the model's may be another: sampling.length
    std::vector<double> shape(own.begin(), own.end());
    yaml += concat("data_spec:\n  shape: ", format_value(shape), "\n  num_classes: ", model.spec.num_classes, "\n");
    if (const auto& names = model.spec.class_names; !names.empty())
      yaml += concat("  class_names: ", format_value(names), "\n");
    if (model.spec.caption_bytes > 0) yaml += concat("  caption_bytes: ", model.spec.caption_bytes, "\n");
  }
  write_file(folder / "thaw.yaml", yaml);
  std::string card = concat("# ", experiment.title(), "\n\n| | |\n|---|---|\n");
  for (const auto& [name, value] : facts) card += concat("| ", name, " | ", value, " |\n");
  write_file(folder / "card.md", card);
}

}  // namespace thaw
