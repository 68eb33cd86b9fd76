#include "modalities/images/published.h"

#include <map>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "modalities/images/published_autoencoder.h"
#include "modalities/images/published_parts.h"

namespace thaw::image {

namespace {

constexpr std::int64_t kMaxSize = 1 << 16;

template <class Network>
using Make = std::unique_ptr<Network> (*)(PublishedConfig&, PublishedSource);

const PublishedArgument kText{"encoder_hidden_states", "text"}, kTextMask{"encoder_attention_mask", "text_mask"},
    kLabels{"class_labels", "label"}, kPooled{"pooled_projections", "pooled"};

/// `packed` input channels are one of the sample. sample_size is a number, [height, width], or null in networks of any
/// size; size 0: there is no such key.
template <int channels, int size, int packed = 1>
DataSpec spec_of(PublishedConfig& config) {
  const std::int64_t own = config.integer("in_channels", channels, 1, kMaxSize) / packed;
  std::vector<std::int64_t> sides{size, size};
  if (size == 0)
    sides = {128, 128};  // what its pipelines default to
  else if (config.is_list("sample_size"))
    sides = config.integers("sample_size", sides, 1, kMaxSize);
  else if (!config.is_null("sample_size"))
    sides.assign(2, config.integer("sample_size", size, 1, kMaxSize));
  if (sides.size() != 2) config.fail("sample_size", concat("expected one or two numbers, got ", sides.size(), "."));
  return {{own, sides[0], sides[1]}};
}

DataSpec with_classes(DataSpec spec, PublishedConfig& config, const std::string& key) {
  spec.num_classes = config.integer_or_null(key, std::nullopt, 0, 1 << 24).value_or(0);
  return spec;
}

/// fallback 0: those of the input.
template <int fallback, int in_channels, int packed = 1>
std::int64_t output_channels(PublishedConfig& config) {
  const std::int64_t own = fallback > 0 ? fallback : config.integer("in_channels", in_channels, 1, kMaxSize);
  return config.integer_or_null("out_channels", own, 1, kMaxSize).value_or(own) / packed;
}

}  // namespace

const PublishedDenoisers& published_denoisers() {
  static const PublishedDenoisers table{
      {"UNet2DModel",
       {"sample",
        [](PublishedConfig& config) { return with_classes(spec_of<3, 32>(config), config, "num_class_embeds"); },
        output_channels<0, 3>,
        make_published_unet2d,
        {kLabels}}},
      {"UNet2DConditionModel",
       {"sample",
        [](PublishedConfig& config) { return with_classes(spec_of<4, 64>(config), config, "num_class_embeds"); },
        output_channels<0, 4>,
        make_published_unet2d_condition,
        {kText,
         kTextMask,
         kLabels,
         {"text_embeds", "pooled"},
         {"time_ids", "time_ids"},
         {"timestep_cond", "time_features"},
         {"down_block_additional_residuals.", "down_residual."},
         {"mid_block_additional_residual", "middle_residual"}}}},
      {"DiTTransformer2DModel",
       {"hidden_states",
        [](PublishedConfig& config) { return with_classes(spec_of<4, 32>(config), config, "num_embeds_ada_norm"); },
        output_channels<0, 4>,
        make_published_dit,
        {kLabels}}},
      {"PixArtTransformer2DModel",
       {"hidden_states",
        spec_of<4, 128>,
        output_channels<8, 4>,
        make_published_pixart,
        {kText, kTextMask, {"resolution", "resolution"}, {"aspect_ratio", "aspect_ratio"}}}},
      {"SD3Transformer2DModel",
       {"hidden_states", spec_of<16, 128>, output_channels<0, 16>, make_published_sd3, {kText, kPooled}}},
      {"FluxTransformer2DModel",
       {"hidden_states",
        spec_of<64, 0, 4>,
        output_channels<0, 64, 4>,
        make_published_flux,
        {kText, kPooled, {"guidance", "guidance"}, {"img_ids", "image_places"}, {"txt_ids", "text_places"}},
        1000.0}}};
  return table;
}

namespace {

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

template <class Network>
std::unique_ptr<Network> open(const std::filesystem::path& folder, WeightType type,
                              const std::map<std::string, Make<Network>>& table) {
  std::vector<std::string> names;
  append_names(table, names);
  OpenPublishedConfig opened = open_published_config(folder, names);
  return table.at(opened.class_name)(opened.config, {map_tensors(folder).tensors, folder.string(), type});
}

}  // namespace

const std::vector<std::string>& published_class_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    append_names(published_denoisers(), all);
    append_names(autoencoders(), all);
    append_names(controls(), all);
    return all;
  }();
  return names;
}

PublishedKind published_kind(const std::filesystem::path& folder) {
  const std::string name = open_published_config(folder, published_class_names()).class_name;
  return published_denoisers().count(name) > 0 ? PublishedKind::kDenoiser
         : autoencoders().count(name) > 0      ? PublishedKind::kAutoencoder
                                               : PublishedKind::kControlNet;
}

PublishedNetwork open_published_network(const std::filesystem::path& folder, WeightType type, bool is_mapped) {
  return thaw::open_published(folder, published_denoisers(), type, is_mapped);
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
