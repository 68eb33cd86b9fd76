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
  std::int64_t channels, size;  // the peer's defaults
  std::string classes_key;      // of config.json
  std::function<std::unique_ptr<Backbone>(PublishedConfig&, NamedTensors, const std::string&)> make;
};

const std::map<std::string, PublishedClass>& published_classes() {
  static const std::map<std::string, PublishedClass> table{
      {"UNet2DModel", {"sample", 3, 32, "num_class_embeds", make_published_unet2d}},
      {"DiTTransformer2DModel", {"hidden_states", 4, 32, "num_embeds_ada_norm", make_published_dit}}};
  return table;
}

// What config.json says of a sample. sample_size is a number, [height, width], or null in networks of any size.
DataSpec read_spec(PublishedConfig& config, const PublishedClass& entry, const nlohmann::json& size) {
  constexpr std::int64_t kMaxSize = 1 << 16;
  const std::int64_t channels = config.integer("in_channels", entry.channels, 1, kMaxSize);
  const std::int64_t classes = config.integer_or_null(entry.classes_key, std::nullopt, 0, 1 << 24).value_or(0);
  std::vector<std::int64_t> sides{entry.size, entry.size};
  if (size.is_array())
    sides = config.integers("sample_size", sides, 1, kMaxSize);
  else if (!size.is_null())
    sides.assign(2, config.integer("sample_size", entry.size, 1, kMaxSize));
  if (sides.size() != 2) config.fail("sample_size", concat("expected one or two numbers, got ", sides.size(), "."));
  return {{channels, sides[0], sides[1]}, classes};
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
  const nlohmann::json values = parse_json_file(config_path, kMaxConfigBytes, kMaxConfigDepth);
  PublishedConfig config(values, config_path.string());
  const std::string name = config.choice("_class_name", "", published_class_names());
  if (name.empty())
    config.fail("_class_name", concat("is missing; expected one of ", join(published_class_names(), ", "), "."));
  const PublishedClass& entry = published_classes().at(name);
  DataSpec spec = read_spec(config, entry, values.is_object() ? values.value("sample_size", nlohmann::json()) : nlohmann::json());
  // The peer's samplers tell a learned variance by this: twice the channels come out.
  const bool learns_variance =
      config.integer_or_null("out_channels", std::nullopt, 1, 1 << 16).value_or(spec.shape[0]) == 2 * spec.shape[0];
  return {entry.make(config, load_tensors(folder).tensors, folder.string()), name, spec, learns_variance,
          entry.input_name};
}

std::unique_ptr<Backbone> open_published(const std::filesystem::path& folder) {
  return open_published_network(folder).backbone;
}

}  // namespace thaw::image
