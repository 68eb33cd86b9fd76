#include "core/published_network.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/io/json_guard.h"
#include "core/lora.h"
#include "core/nn/streaming.h"

namespace thaw {

namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr int kMaxConfigDepth = 16;

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

/// A network and the shape its configuration declares.
class Published : public Backbone {
 public:
  Published(PublishedNetwork network, const std::string& lora, double lora_scale) : network_(std::move(network)) {
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

OpenPublishedConfig open_published_config(const std::filesystem::path& folder,
                                          const std::vector<std::string>& allowed) {
  const std::filesystem::path path = folder / "config.json";
  OpenPublishedConfig opened{PublishedConfig(parse_json_file(path, kMaxConfigBytes, kMaxConfigDepth), path.string()),
                             ""};
  opened.class_name = opened.config.choice("_class_name", "", allowed);
  if (opened.class_name.empty())
    opened.config.fail("_class_name", concat("is missing; expected one of ", join(allowed, ", "), "."));
  return opened;
}

PublishedNetwork open_published(const std::filesystem::path& folder, const PublishedDenoisers& classes, WeightType type,
                                bool is_mapped) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : classes) names.push_back(name);
  OpenPublishedConfig opened = open_published_config(folder, names);
  const PublishedDenoiser& entry = classes.at(opened.class_name);
  PublishedNetwork network{.class_name = opened.class_name,
                           .spec = entry.spec(opened.config),
                           .input_name = entry.input_name,
                           .arguments = entry.arguments,
                           .timestep_scale = entry.timestep_scale};
  // The peer's samplers tell a learned variance by this: twice the channels come out.
  network.learns_variance = entry.output_channels(opened.config) == 2 * network.spec.shape[0];
  network.backbone =
      entry.make(opened.config, {map_tensors(folder).tensors, folder.string(), is_mapped ? std::nullopt : type});
  if (type != at::kFloat) network.backbone = std::make_unique<Cast>(std::move(network.backbone));
  return network;
}

void register_published(BackboneRegistry& registry, const PublishedDenoisers& classes) {
  registry.add(
      {{.name = "published",
        .summary = "A network in the layout of diffusers: config.json and safetensors weights.",
        .source = "diffusers 0.42.1: UNets and transformers of pictures, clips and sounds",
        .options = {Option{.name = "path", .fallback = std::string(), .help = "its folder", .required = true},
                    Option{.name = "weights",
                           .fallback = std::string("float32"),
                           .help = "their type in memory; stored: as in the file",
                           .choices = {"float32", "bfloat16", "float16", "stored"}},
                    Option{.name = "lora", .fallback = std::string(), .help = "a file of LoRA layers to merge in"},
                    Option{.name = "lora_scale", .fallback = 1.0, .help = "times their change"}},
        .traits = {"pretrained", "own_shape"}},
       [&classes](const Settings& settings, const DataSpec&, std::uint64_t) -> std::unique_ptr<Backbone> {
         return std::make_unique<Published>(
             open_published(settings.text("path"), classes, weight_type(settings.text("weights"))),
             settings.text("lora"), settings.number("lora_scale"));
       }});
}

}  // namespace thaw
