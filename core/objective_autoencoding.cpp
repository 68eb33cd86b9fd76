// An autoencoder learns to give back what it was given, through latents that are nearly normal or codes.

#include <map>

#include <ATen/ATen.h>

#include "core/autoencoder.h"
#include "core/base/error.h"
#include "core/base/text.h"
#include "core/few_step.h"
#include "core/nn/patch_discriminator.h"
#include "core/objective.h"
#include "core/perceptual.h"
#include "core/spectral_distance.h"

namespace thaw {

namespace {

struct AutoencodingOptions {
  double absolute = 1.0, squared = 0.0;  // weights of the mean absolute and mean square difference
  double kl_weight = 0.0, commitment = 0.25;
  double perceptual_weight = 1.0;
  double adversarial_weight = 0.0;
  std::int64_t adversarial_start = 0, width = 32, depth = 3;
  double spectral_weight = 0.0;
  std::vector<std::int64_t> windows{};  // of the spectra
};

/// Rombach et al. 2022 (LDM), appendix G: difference and perceptual distance, a patch discriminator with the hinge loss
/// of Lim and Ye 2017, and a small KL term (or, with codes, the VQ-VAE's). The discriminator learns in the same update:
/// the network's part sees it as a constant, its own part sees reconstructions as constants.
class AutoencodingObjective : public Objective {
 public:
  AutoencodingObjective(AutoencodingOptions options, PerceptualDistance perceptual,
                        std::vector<std::filesystem::path> files)
      : options_(options), perceptual_(std::move(perceptual)), files_(std::move(files)) {}

  void prepare(const Model& model) override {
    network_of(model);
    perceptual_.prepare(model, "objective.perceptual");
    expect_windows(model);
    if (options_.adversarial_weight == 0) return;
    if (model.spec.shape.size() != 3)
      throw ConfigError(concat("objective.adversarial_weight: needs samples [channels, height, width], they are ",
                               at::IntArrayRef(model.spec.shape), "."));
    discriminator_ = nn::PatchDiscriminator(Scope(parameters_), model.spec.shape[0], options_.width, options_.depth);
    move_weights(parameters_, model.device);
  }
  std::vector<std::filesystem::path> files() const override { return files_; }
  NamedTensors parameters() const override { return parameters_.all(); }

  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition&,
                  const StepContext& context) const override {
    const AutoencoderNetwork& network = network_of(model);
    const AutocastScope autocast(model.precision, model.device);
    const Posterior posterior = network.encode(x0);
    std::vector<std::uint64_t> samples;
    for (std::int64_t i = 0; i < x0.size(0); ++i) samples.push_back(context.sample(context.first_in_batch + i));
    at::Tensor z = draw(posterior, training_noise(posterior.mean.detach(), context.seed, samples));
    at::Tensor penalty;
    if (network.codes().defined()) {
      const Quantised codes = quantised(posterior.mean, network.codes(), options_.commitment);
      z = codes.z;
      penalty = codes.penalty;
    } else {
      penalty = options_.kl_weight * kl_to_normal(posterior);
    }
    if (context.first_in_batch == 0) latents_ = posterior.mean.detach();
    const at::Tensor back = network.decoded(z).to(at::kFloat);
    const at::Tensor difference = (back - x0).flatten(1);
    at::Tensor loss =
        options_.absolute * difference.abs().mean(1) + options_.squared * difference.square().mean(1) + penalty;
    if (perceptual_.is_used()) loss = loss + options_.perceptual_weight * perceptual_(back, x0);
    if (options_.spectral_weight > 0)
      loss = loss + options_.spectral_weight * spectral_distance(back, x0.to(at::kFloat), options_.windows);
    const bool is_adversarial = static_cast<std::int64_t>(context.step) >= options_.adversarial_start;
    return options_.adversarial_weight > 0 && is_adversarial ? loss + adversarial(back, x0) : loss;
  }

  void updated(const Model& model, const StepContext&) override {
    if (latents_.defined()) network_of(model).note(latents_);
  }

 private:
  static const AutoencoderNetwork& network_of(const Model& model) {
    const auto* network = dynamic_cast<const AutoencoderNetwork*>(model.backbone.get());
    if (network == nullptr) throw ConfigError("objective \"autoencoding\": the backbone is no autoencoder.");
    return *network;
  }

  void expect_windows(const Model& model) const {
    if (options_.spectral_weight == 0) return;
    const std::vector<std::int64_t>& shape = model.spec.shape;
    if (shape.size() != 2)
      throw ConfigError(concat("objective.spectral_weight: needs samples [channels, length], they are ",
                               at::IntArrayRef(shape), "."));
    if (options_.windows.empty()) throw ConfigError("objective.spectral_windows: needs at least one.");
    for (const std::int64_t window : options_.windows)
      if (window > 2 * shape[1] - 2)
        throw ConfigError(concat("objective.spectral_windows: must be at most ", 2 * shape[1] - 2, ", got ", window,
                                 " for samples of ", shape[1], "."));
  }

  at::Tensor adversarial(const at::Tensor& back, const at::Tensor& x0) const {
    const auto each = [](const at::Tensor& patches) { return patches.to(at::kFloat).flatten(1).mean(1); };
    const at::Tensor fooled = -each(discriminator_.frozen()(back));
    const at::Tensor told = each(at::relu(1 - discriminator_(x0))) + each(at::relu(1 + discriminator_(back.detach())));
    return options_.adversarial_weight * fooled + 0.5 * told;
  }

  AutoencodingOptions options_;
  PerceptualDistance perceptual_;
  std::vector<std::filesystem::path> files_;
  Parameters parameters_{0};  // the discriminator's; the same start for every seed
  nn::PatchDiscriminator discriminator_;
  mutable at::Tensor latents_;  // of the step so far
};

}  // namespace

void register_autoencoding_objective(ObjectiveRegistry& registry) {
  registry.add(
      {{"autoencoding",
        "Data back from latents: difference, perceptual distance, patch discriminator, KL or codes.",
        "Kingma and Welling 2014; Esser et al. 2021 (VQGAN); Rombach et al. 2022 (LDM), appendix G",
        {{"absolute", 1.0, "weight of the mean absolute difference", 0.0, 1e6},
         {"squared", 0.0, "weight of the mean square difference", 0.0, 1e6},
         {"kl_weight", 1e-4, "of the KL term in nats a latent number; none with codes", 0.0, 1e3},
         {"commitment", 0.25, "of latents to their codes (van den Oord et al. 2017, eq. 3)", 0.0, 1e3},
         {"perceptual", std::string(), "classifier between whose layers a further distance is taken: a folder"},
         {"perceptual_weight", 1.0, "of that distance", 0.0, 1e3},
         {"adversarial_weight", 0.0, "of the patch discriminator's opinion; 0: none", 0.0, 1e3},
         {"adversarial_start", std::int64_t{0}, "step from which the discriminator learns and is heard", 0, 1e9},
         {"discriminator_width", std::int64_t{32}, "channels of its first layer", 1, 4096},
         {"discriminator_depth", std::int64_t{3}, "layers of stride 2", 1, 8},
         {"spectral_weight", 0.0,
          "of the distance of short-time spectra (Yamamoto et al. 2020), of samples with one dimension; 0: none", 0.0,
          1e3},
         {"spectral_windows", std::vector<double>{64, 256, 1024}, "lengths of their windows", 4, 65536}},
        {"autoencoder"}},
       [](const Settings& settings, const ObjectiveParts& parts, const Config&) -> ObjectivePtr {
         return std::make_shared<AutoencodingObjective>(
             AutoencodingOptions{settings.number("absolute"), settings.number("squared"), settings.number("kl_weight"),
                                 settings.number("commitment"), settings.number("perceptual_weight"),
                                 settings.number("adversarial_weight"), settings.integer("adversarial_start"),
                                 settings.integer("discriminator_width"), settings.integer("discriminator_depth"),
                                 settings.number("spectral_weight"), settings.integers("spectral_windows")},
             PerceptualDistance(settings.text("perceptual"), parts.open_model),
             used_files(settings, parts, {"perceptual"}));
       }});
}

}  // namespace thaw
