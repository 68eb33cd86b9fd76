#include "modalities/images/published.h"

#include <functional>
#include <map>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/io/json_guard.h"
#include "modalities/images/published_parts.h"

namespace thaw::image {

namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr int kMaxConfigDepth = 16;

struct PublishedClass {
  std::string input_name;
  std::function<std::unique_ptr<Backbone>(PublishedConfig&, NamedTensors, const std::string&)> make;
};

const std::map<std::string, PublishedClass>& published_classes() {
  static const std::map<std::string, PublishedClass> table{
      {"UNet2DModel", {"sample", make_published_unet2d}},
      {"DiTTransformer2DModel", {"hidden_states", make_published_dit}}};
  return table;
}

}  // namespace

const std::vector<std::string>& published_class_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, entry] : published_classes()) all.push_back(name);
    return all;
  }();
  return names;
}

PublishedNetwork open_published_network(const std::filesystem::path& folder) {
  const std::filesystem::path config_path = folder / "config.json";
  PublishedConfig config(parse_json_file(config_path, kMaxConfigBytes, kMaxConfigDepth), config_path.string());
  const std::string name = config.choice("_class_name", "", published_class_names());
  if (name.empty())
    config.fail("_class_name", concat("is missing; expected one of ", join(published_class_names(), ", "), "."));
  const PublishedClass& entry = published_classes().at(name);
  return {entry.make(config, load_tensors(folder).tensors, folder.string()), name, entry.input_name};
}

std::unique_ptr<Backbone> open_published(const std::filesystem::path& folder) {
  return open_published_network(folder).backbone;
}

}  // namespace thaw::image
