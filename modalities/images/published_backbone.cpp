// A published network as a backbone of a configuration.

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "modalities/images/list.h"
#include "modalities/images/published.h"

namespace thaw::image {

namespace {

/// A network and the shape its configuration declares.
class Published : public Backbone {
 public:
  explicit Published(const std::filesystem::path& folder) : network_(open_published_network(folder)) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    return network_.backbone->forward(x, noise, condition);
  }
  const Parameters& parameters() const override { return network_.backbone->parameters(); }
  bool learns_variance() const override { return network_.learns_variance; }
  DataSpec own_spec() const override { return network_.spec; }

 private:
  PublishedNetwork network_;
};

}  // namespace

void register_published(BackboneRegistry& registry) {
  registry.add({{.name = "published",
                 .summary = "A network in the layout of diffusers: config.json and safetensors weights.",
                 .source = "diffusers 0.42.1: UNet2DModel, DiTTransformer2DModel",
                 .options = {Option{.name = "path", .fallback = std::string(), .help = "its folder", .required = true}},
                 .traits = {"pretrained", "own_shape"}},
                [](const Settings& settings, const DataSpec&, std::uint64_t) -> std::unique_ptr<Backbone> {
                  return std::make_unique<Published>(settings.text("path"));
                }});
}

}  // namespace thaw::image
