// A published network as a backbone of a configuration.

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "core/lora.h"
#include "modalities/images/list.h"
#include "modalities/images/published.h"

namespace thaw::image {

namespace {

/// A network and the shape its configuration declares.
class Published : public Backbone {
 public:
  Published(const std::filesystem::path& folder, WeightType type, const std::string& lora, double lora_scale)
      : network_(open_published_network(folder, type)) {
    const NamedTensors& weights = network_.backbone->parameters().all();
    if (!lora.empty()) LoraMerge(weights).set({{load_lora(lora, weights), lora_scale}});
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    return network_.backbone->forward(x, noise, condition);
  }
  const Parameters& parameters() const override { return network_.backbone->parameters(); }
  bool learns_variance() const override { return network_.learns_variance; }
  bool takes_guidance() const override { return network_.backbone->takes_guidance(); }
  DataSpec own_spec() const override { return network_.spec; }

 private:
  PublishedNetwork network_;
};

WeightType weight_type(const std::string& name) {
  if (name == "stored") return std::nullopt;
  return name == "bfloat16" ? at::kBFloat16 : name == "float16" ? at::kHalf : at::kFloat;
}

}  // namespace

void register_published(BackboneRegistry& registry) {
  registry.add(
      {{.name = "published",
        .summary = "A network in the layout of diffusers: config.json and safetensors weights.",
        .source = "diffusers 0.42.1: UNet2DModel, UNet2DConditionModel and the transformers of DiT, PixArt, SD3, Flux",
        .options = {Option{.name = "path", .fallback = std::string(), .help = "its folder", .required = true},
                    Option{.name = "weights",
                           .fallback = std::string("float32"),
                           .help = "their type in memory; stored: as in the file",
                           .choices = {"float32", "bfloat16", "float16", "stored"}},
                    Option{.name = "lora", .fallback = std::string(), .help = "a file of LoRA layers to merge in"},
                    Option{.name = "lora_scale", .fallback = 1.0, .help = "times their change"}},
        .traits = {"pretrained", "own_shape"}},
       [](const Settings& settings, const DataSpec&, std::uint64_t) -> std::unique_ptr<Backbone> {
         return std::make_unique<Published>(settings.text("path"), weight_type(settings.text("weights")),
                                            settings.text("lora"), settings.number("lora_scale"));
       }});
}

}  // namespace thaw::image
