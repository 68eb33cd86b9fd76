#include "experiments/exported_network.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/exportable.h"
#include "experiments/model_folder.h"

namespace thaw {

namespace {

// Of data a second, where the codec is told; 0: it is not.
std::int64_t rate_of(const Experiment& experiment) {
  const Catalog& catalog = experiment.catalog();
  const Config section = experiment.config().section("codec");
  const auto& entry = catalog.codecs.find(section, "unit_range");
  const bool has_rate =
      std::ranges::any_of(entry.info.options, [](const Option& option) { return option.name == "rate"; });
  return has_rate ? catalog.codecs.read(section, entry).integer("rate") : 0;
}

}  // namespace

bool is_own_model(const std::filesystem::path& path) {
  return std::filesystem::exists(path / "thaw.yaml") || std::filesystem::exists(path / "model" / "thaw.yaml");
}

void export_own_network(const std::filesystem::path& path, const std::filesystem::path& out,
                        std::optional<at::ScalarType> type, const Catalog& catalog) {
  const LoadedModel loaded = open_model(path, catalog, {"device=cpu"});
  const auto* network = dynamic_cast<const Exportable*>(loaded.model.backbone.get());
  if (network == nullptr)
    throw ConfigError(concat("command line: ", path.string(), ": backbone \"",
                             loaded.experiment->config().section("backbone").type(),
                             "\" is no network that diffusers has a class for."));
  NamedTensors weights = network->published_weights();
  for (auto& [name, tensor] : weights) tensor = tensor.detach().to(type.value_or(at::kFloat));
  make_folder(out);
  write_file(out / "config.json", network->published_config(rate_of(*loaded.experiment)));
  save_tensors(out / "diffusion_pytorch_model.safetensors", weights, {{"format", "pt"}});
}

}  // namespace thaw
