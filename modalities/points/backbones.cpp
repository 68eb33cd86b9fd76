// Networks of clouds: denoisers, and a classifier of another kind that judges them.

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/metrics/features.h"
#include "modalities/points/cloud_options.h"
#include "modalities/points/list.h"
#include "modalities/points/set_networks.h"
#include "modalities/points/two_stream.h"

namespace thaw::points {

namespace {

Option frequencies_option(std::int64_t fallback) {
  return {"frequencies", fallback, "sin and cos of 2^k x for k below it are seen beside each coordinate x", 0, 16};
}

// Any number of channels: latents are clouds too.
template <class Options = SetOptions>
Options read_options(const Settings& settings, const DataSpec& spec) {
  auto options = read_cloud_options<Options>(settings, spec, 1);
  options.features = settings.integer("features");
  return options;
}

std::unique_ptr<Backbone> make_pointwise(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  auto options = read_options(settings, spec);
  options.is_pooled = settings.flag("pooled");
  return std::make_unique<text::ToldBackbone<PointwiseNet, SetOptions>>(options, settings, seed);
}

std::unique_ptr<Backbone> make_transformer(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  auto options = read_options(settings, spec);
  options.depth = settings.integer("depth");
  options.heads = settings.integer("heads");
  options.inducing = settings.integer("inducing");
  options.frequencies = settings.integer("frequencies");
  options.has_tokens = settings.text("told_by") == "tokens";
  options.globals = settings.integer("globals");
  if (options.globals >= spec.shape[1])
    settings.fail("globals",
                  concat("must be fewer than the ", spec.shape[1], " columns of the data, got ", options.globals, "."));
  if (options.features % options.heads != 0)
    settings.fail("features",
                  concat("must be a multiple of heads, got ", options.features, " with ", options.heads, " heads."));
  return std::make_unique<text::ToldBackbone<PointTransformer, SetOptions>>(options, settings, seed);
}

std::unique_ptr<Backbone> make_two_stream(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  auto options = read_options<TwoStreamOptions>(settings, spec);
  options.latents = settings.integer("latents");
  options.latent_features = settings.integer("latent_features");
  options.depth = settings.integer("depth");
  options.latent_depth = settings.integer("latent_depth");
  options.heads = settings.integer("heads");
  options.frequencies = settings.integer("frequencies");
  for (const char* width : {"features", "latent_features"})
    if (settings.integer(width) % options.heads != 0)
      settings.fail(width, concat("must be a multiple of heads, got ", settings.integer(width), " with ", options.heads,
                                  " heads."));
  return std::make_unique<text::ToldBackbone<TwoStream, TwoStreamOptions>>(options, settings, seed);
}

/// Layers for every point alone, maximum and mean over the points, a hidden layer. No attention and no noise: another
/// family than the denoisers.
class PointClassifier : public Classifier {
 public:
  PointClassifier(const DataSpec& spec, const Settings& settings, std::uint64_t seed) : parameters_(seed) {
    const std::int64_t width = settings.integer("width"), features = settings.integer("features");
    const Scope scope(parameters_);
    std::int64_t in = spec.shape[0];
    for (std::size_t i = 0; i < kLayers; ++i) {
      const std::int64_t out = width << i;
      layers_[i] = nn::Linear(scope / "layers" / i, in, out);
      norms_[i] = nn::LayerNorm(scope / "norms" / i, out, true);
      in = out;
    }
    hidden_ = nn::Linear(scope / "hidden", 2 * in, features);
    out_ = nn::Linear(scope / "out", features, spec.num_classes);
  }
  bool takes_any_length() const override { return true; }
  at::Tensor features(const at::Tensor& x_NCK) const override { return layers(x_NCK).back().flatten(1); }
  at::Tensor logits(const at::Tensor& x_NCK) const override { return out_(features(x_NCK)); }
  std::vector<at::Tensor> layers(const at::Tensor& x_NCK) const override {
    std::vector<at::Tensor> all;
    at::Tensor h = x_NCK.transpose(1, 2);
    for (std::size_t i = 0; i < kLayers; ++i) {
      h = at::relu(norms_[i](layers_[i](h)));
      all.push_back(h.transpose(1, 2));
    }
    const at::Tensor pooled = at::cat({h.amax({1}), h.mean(1)}, 1);
    all.push_back(at::relu(hidden_(nn::dropout(pooled, 0.2, 0))).unsqueeze(2));
    return all;
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  static constexpr std::size_t kLayers = 3;
  Parameters parameters_;
  nn::Linear layers_[kLayers], hidden_, out_;
  nn::LayerNorm norms_[kLayers];
};

}  // namespace

void register_cloud_backbones(BackboneRegistry& registry) {
  registry.add({{"pointwise",
                 "Each point alone through gated layers, in a context of what is told and of all points pooled.",
                 "Luo and Hu 2021, PointwiseNet; the pooled context is ours",
                 cloud_options({{"features", std::int64_t{256}, "width of the context", 8, 4096},
                                {"pooled", true, "whether the context sees all points"}}),
                 {}},
                make_pointwise});
  registry.add(
      {{"point_transformer",
        "Points attend to each other without order, or through a few inducing points; any number of points.",
        "Nichol et al. 2022 (Point-E); Lee et al. 2019 (Set Transformer)",
        cloud_options(
            {{"features", std::int64_t{128}, "width of a point", 4, 16384},
             {"depth", std::int64_t{6}, "blocks", 1, 256},
             {"heads", std::int64_t{4}, "attention heads", 1, 256},
             {"inducing", std::int64_t{0}, "points that all attend through; 0: to all others", 0, 65536},
             frequencies_option(0),
             {"globals", std::int64_t{0},
              "last columns that are no points but of the cloud as a whole: those of point_autoencoder's latents", 0,
              4096},
             {"told_by",
              std::string("modulation"),
              "how blocks learn the level and class; tokens: as Point-E's",
              0,
              0,
              {"modulation", "tokens"}}}),
        {}},
       make_transformer});
  registry.add(
      {{"point_two_stream",
        "Latent tokens read the points, work among themselves and are read by the points; any number of points.",
        "Huang et al. 2024 (PointInfinity); Jabri et al. 2023 (RIN)",
        cloud_options({{"features", std::int64_t{96}, "width of a point", 4, 16384},
                       {"latents", std::int64_t{64}, "tokens beside the points", 1, 65536},
                       {"latent_features", std::int64_t{128}, "width of a token", 4, 16384},
                       {"depth", std::int64_t{4}, "times that latents read and are read", 1, 256},
                       {"latent_depth", std::int64_t{2}, "layers among latents each time", 1, 64},
                       {"heads", std::int64_t{4}, "attention heads", 1, 256},
                       frequencies_option(6)}),
        {}},
       make_two_stream});
  registry.add({{"point_classifier",
                 "Layers for each point, maximum and mean over the points, a hidden layer.",
                 "Qi et al. 2017 (PointNet), in small and without its transforms",
                 {{"width", std::int64_t{64}, "of the first layer; each doubles it", 2, 4096},
                  {"features", std::int64_t{128}, "width of the layer before the last", 2, 4096}},
                 {"classifier"}},
                [](const Settings& settings, const DataSpec& spec, std::uint64_t seed) -> std::unique_ptr<Backbone> {
                  if (spec.shape.size() != 2 || spec.num_classes < 2) settings.fail("type", "needs labelled clouds.");
                  return std::make_unique<PointClassifier>(spec, settings, seed);
                }});
}

}  // namespace thaw::points
