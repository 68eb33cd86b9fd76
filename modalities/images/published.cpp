#include "modalities/images/published.h"

#include <functional>
#include <map>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/io/json_guard.h"
#include "core/nn/streaming.h"
#include "modalities/images/published_autoencoder.h"
#include "modalities/images/published_parts.h"

namespace thaw::image {

namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr int kMaxConfigDepth = 16;

template <class Network>
using Make = std::unique_ptr<Network> (*)(PublishedConfig&, PublishedSource);

struct DenoiserClass {
  std::string input_name;
  std::int64_t channels, size;  // the peer's defaults; size 0: it has none
  std::string classes_key;      // of config.json
  Make<Backbone> make;
  std::vector<PublishedArgument> arguments{};
  double timestep_scale = 1.0;
  std::int64_t packed = 1;  // in_channels of one latent channel
};

const PublishedArgument kText{"encoder_hidden_states", "text"}, kTextMask{"encoder_attention_mask", "text_mask"},
    kLabels{"class_labels", "label"}, kPooled{"pooled_projections", "pooled"};

const std::map<std::string, DenoiserClass>& denoisers() {
  static const std::map<std::string, DenoiserClass> table{
      {"UNet2DModel", {"sample", 3, 32, "num_class_embeds", make_published_unet2d, {kLabels}}},
      {"UNet2DConditionModel",
       {"sample",
        4,
        64,
        "num_class_embeds",
        make_published_unet2d_condition,
        {kText,
         kTextMask,
         kLabels,
         {"text_embeds", "pooled"},
         {"time_ids", "time_ids"},
         {"timestep_cond", "time_features"},
         {"down_block_additional_residuals.", "down_residual."},
         {"mid_block_additional_residual", "middle_residual"}}}},
      {"DiTTransformer2DModel", {"hidden_states", 4, 32, "num_embeds_ada_norm", make_published_dit, {kLabels}}},
      {"PixArtTransformer2DModel",
       {"hidden_states",
        4,
        128,
        "",
        make_published_pixart,
        {kText, kTextMask, {"resolution", "resolution"}, {"aspect_ratio", "aspect_ratio"}}}},
      {"SD3Transformer2DModel", {"hidden_states", 16, 128, "", make_published_sd3, {kText, kPooled}}},
      {"FluxTransformer2DModel",
       {"hidden_states",
        64,
        0,
        "",
        make_published_flux,
        {kText, kPooled, {"guidance", "guidance"}, {"img_ids", "image_places"}, {"txt_ids", "text_places"}},
        1000.0,
        4}}};
  return table;
}

const std::map<std::string, Make<Autoencoder>>& autoencoders() {
  static const std::map<std::string, Make<Autoencoder>> table{{"AutoencoderKL", make_published_autoencoder_kl},
                                                              {"AutoencoderTiny", make_published_autoencoder_tiny}};
  return table;
}

const std::map<std::string, Make<ControlNet>>& controls() {
  static const std::map<std::string, Make<ControlNet>> table{{"ControlNetModel", make_published_controlnet}};
  return table;
}

template <class Map>
void append_names(const Map& table, std::vector<std::string>& names) {
  for (const auto& [name, entry] : table) names.push_back(name);
}

struct OpenConfig {
  nlohmann::json values;
  PublishedConfig config;
  std::string class_name;
};

OpenConfig open_config(const std::filesystem::path& folder, const std::vector<std::string>& allowed) {
  const std::filesystem::path path = folder / "config.json";
  const nlohmann::json values = parse_json_file(path, kMaxConfigBytes, kMaxConfigDepth);
  OpenConfig opened{values, PublishedConfig(values, path.string()), ""};
  opened.class_name = opened.config.choice("_class_name", "", allowed);
  if (opened.class_name.empty())
    opened.config.fail("_class_name", concat("is missing; expected one of ", join(allowed, ", "), "."));
  return opened;
}

template <class Network>
std::unique_ptr<Network> open(const std::filesystem::path& folder, WeightType type,
                              const std::map<std::string, Make<Network>>& table) {
  std::vector<std::string> names;
  append_names(table, names);
  OpenConfig opened = open_config(folder, names);
  return table.at(opened.class_name)(opened.config, {map_tensors(folder).tensors, folder.string(), type});
}

// What config.json says of a sample. sample_size is a number, [height, width], or null in networks of any size.
DataSpec read_spec(PublishedConfig& config, const DenoiserClass& entry) {
  constexpr std::int64_t kMaxSize = 1 << 16;
  const std::int64_t channels = config.integer("in_channels", entry.channels, 1, kMaxSize) / entry.packed;
  std::int64_t classes = 0;
  if (!entry.classes_key.empty())
    classes = config.integer_or_null(entry.classes_key, std::nullopt, 0, 1 << 24).value_or(0);
  std::vector<std::int64_t> sides{entry.size, entry.size};
  if (entry.size == 0)
    sides = {128, 128};  // what its pipelines default to
  else if (config.is_list("sample_size"))
    sides = config.integers("sample_size", sides, 1, kMaxSize);
  else if (!config.is_null("sample_size"))
    sides.assign(2, config.integer("sample_size", entry.size, 1, kMaxSize));
  if (sides.size() != 2) config.fail("sample_size", concat("expected one or two numbers, got ", sides.size(), "."));
  return {{channels, sides[0], sides[1]}, classes};
}

/// A network whose weights are not float32: what it reads is of their type, and its answer of the input's.
class Cast : public Backbone {
 public:
  explicit Cast(std::unique_ptr<Backbone> network) : network_(std::move(network)) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    const at::ScalarType type = nn::type_here(network_->parameters().all().front().second);
    Condition cast = condition;
    // Numbers that become sinusoids lose their last digits in half types.
    for (auto& [name, tensor] : cast)
      if (tensor.defined() && tensor.is_floating_point() && (name == "text" || name == "pooled" || tensor.dim() > 2))
        tensor = tensor.to(type);
    return network_->forward(x.to(type), noise, cast).to(x.scalar_type());
  }
  const Parameters& parameters() const override { return network_->parameters(); }
  bool takes_guidance() const override { return network_->takes_guidance(); }

 private:
  std::unique_ptr<Backbone> network_;
};

}  // namespace

const std::vector<std::string>& published_class_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    append_names(denoisers(), all);
    append_names(autoencoders(), all);
    append_names(controls(), all);
    return all;
  }();
  return names;
}

PublishedKind published_kind(const std::filesystem::path& folder) {
  const std::string name = open_config(folder, published_class_names()).class_name;
  return denoisers().count(name) > 0      ? PublishedKind::kDenoiser
         : autoencoders().count(name) > 0 ? PublishedKind::kAutoencoder
                                          : PublishedKind::kControlNet;
}

PublishedNetwork open_published_network(const std::filesystem::path& folder, WeightType type, bool is_mapped) {
  std::vector<std::string> names;
  append_names(denoisers(), names);
  OpenConfig opened = open_config(folder, names);
  const DenoiserClass& entry = denoisers().at(opened.class_name);
  PublishedConfig& config = opened.config;
  const DataSpec spec = read_spec(config, entry);
  PublishedNetwork network{.class_name = opened.class_name,
                           .spec = spec,
                           .input_name = entry.input_name,
                           .arguments = entry.arguments,
                           .timestep_scale = entry.timestep_scale};
  network.backbone =
      entry.make(config, {map_tensors(folder).tensors, folder.string(), is_mapped ? std::nullopt : type});
  if (type != at::kFloat) network.backbone = std::make_unique<Cast>(std::move(network.backbone));
  // The peer's samplers tell a learned variance by this: twice the channels come out. PixArt's default is 8 of 4.
  const std::int64_t fallback = opened.class_name == "PixArtTransformer2DModel" ? 8 : spec.shape[0] * entry.packed;
  const std::int64_t out = config.integer_or_null("out_channels", fallback, 1, 1 << 16).value_or(fallback);
  network.learns_variance = out == 2 * spec.shape[0] * entry.packed;
  return network;
}

std::unique_ptr<Autoencoder> open_published_autoencoder(const std::filesystem::path& folder, WeightType type) {
  return open(folder, type, autoencoders());
}

std::unique_ptr<ControlNet> open_published_controlnet(const std::filesystem::path& folder, WeightType type) {
  return open(folder, type, controls());
}

std::unique_ptr<Backbone> open_published(const std::filesystem::path& folder, WeightType type) {
  return open_published_network(folder, type).backbone;
}

}  // namespace thaw::image
