#include "experiments/model_folder.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/checkpoint.h"

namespace thaw {

namespace fs = std::filesystem;

LoadedModel open_model(const fs::path& path, const Catalog& catalog, const std::vector<std::string>& overrides) {
  fs::path folder = path;
  if (fs::is_regular_file(path))
    throw DataError(concat(path.string(), ": is a file; expected a model directory or a run folder."));
  if (!fs::exists(folder / "thaw.yaml") && fs::exists(folder / "model" / "thaw.yaml")) folder /= "model";
  if (!fs::exists(folder / "thaw.yaml"))
    throw DataError(concat(path.string(), ": is no model directory (no thaw.yaml) and no finished run (no model/)."));
  Config config = Config::load(folder / "thaw.yaml");
  apply_overrides(config, overrides);
  LoadedModel loaded;
  loaded.experiment = std::make_unique<Experiment>(std::move(config), catalog);
  loaded.model = loaded.experiment->make_model();
  assign(loaded.model.backbone->parameters().all(), load_tensors(folder / "model.safetensors").tensors,
         (folder / "model.safetensors").string());
  return loaded;
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
    std::vector<double> shape(model.spec.shape.begin(), model.spec.shape.end());
    yaml += concat("data_spec:\n  shape: ", format_value(shape), "\n  num_classes: ", model.spec.num_classes, "\n");
  }
  write_file(folder / "thaw.yaml", yaml);
  std::string card = concat("# ", experiment.title(), "\n\n| | |\n|---|---|\n");
  for (const auto& [name, value] : facts) card += concat("| ", name, " | ", value, " |\n");
  write_file(folder / "card.md", card);
}

}  // namespace thaw
