// Autoencoders and what they are trained by, against closed forms.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/autoencoder.h"
#include "core/base/error.h"
#include "core/latent_codec.h"
#include "core/nn/patch_discriminator.h"
#include "core/optimizer.h"
#include "tests/core/gaussian_networks.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

/// x [N, 4] to `channels` numbers by a matrix, and back by another.
class LinearAutoencoder : public AutoencoderNetwork {
 public:
  explicit LinearAutoencoder(std::int64_t channels, std::int64_t num_codes = 0)
      : AutoencoderNetwork(5, {4, channels, {}}, num_codes), channels_(channels) {
    const Scope scope(own_parameters());
    down_ = nn::Linear(scope / "down", 4, num_codes > 0 ? channels : 2 * channels);
    up_ = nn::Linear(scope / "up", channels, 4);
  }
  at::Tensor decoded(const at::Tensor& z) const override { return up_(z); }
  const nn::Linear& up() const { return up_; }

 protected:
  at::Tensor moments(const at::Tensor& x) const override { return down_(x); }

 private:
  std::int64_t channels_;
  nn::Linear down_, up_;
};

Model model_with(std::unique_ptr<Backbone> backbone) {
  return model_of(std::move(backbone), schedule("cosine"), Prediction::kV, Precision::kFloat32);
}

// Normals of deviations 2, 1, 0.5, 0.1 along axes that are no coordinates.
at::Tensor spread(std::int64_t n, std::uint64_t seed) {
  const at::Tensor scale = at::tensor({2.0F, 1.0F, 0.5F, 0.1F});
  at::Tensor turn =
      at::tensor({1.0F, 1.0F, 1.0F, 1.0F, 1.0F, -1.0F, 1.0F, -1.0F, 1.0F, 1.0F, -1.0F, -1.0F, 1.0F, -1.0F, -1.0F, 1.0F})
          .reshape({4, 4}) *
      0.5;
  return at::matmul(normals({n, 4}, seed, at::kFloat) * scale, turn);
}

void train_on_spread(const Model& model, const ObjectivePtr& what, std::int64_t steps, double rate) {
  NamedTensors weights = model.backbone->parameters().all();
  OptimizerOptions options;
  options.learning_rate = rate;
  options.weight_decay = 0.0;
  AdamW optimizer(weights, options);
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto at = static_cast<std::uint64_t>(step);
    const StepContext context{.seed = 1, .step = at, .batch = 128, .first_in_batch = 0, .steps = steps};
    what->loss(model, spread(128, 100 + at), {}, context).mean().backward();
    optimizer.step(learning_rate_at(options, step, steps), step + 1, at::zeros({}));
    optimizer.zero_gradients();
    what->updated(model, context);
  }
}

}  // namespace

CATCH_TEST_CASE("the KL term is that of normals", "[core][autoencoder]") {
  const auto kl = [](double mean, double variance) {
    return kl_to_normal({at::full({1, 3}, mean, at::kDouble), at::full({1, 3}, std::log(variance), at::kDouble)})
        .item<double>();
  };
  CATCH_CHECK(std::abs(kl(0, 1)) < 1e-14);
  CATCH_CHECK(std::abs(kl(2, 1) - 2.0) < 1e-14);
  CATCH_CHECK(std::abs(kl(0, 0.25) - 0.5 * (0.25 - 1 - std::log(0.25))) < 1e-14);
}

CATCH_TEST_CASE("codes are the nearest rows, and gradients go where the VQ-VAE sends them", "[core][autoencoder]") {
  at::Tensor codes = at::tensor({0.0, 0.0, 1.0, 1.0, -2.0, 0.0}, at::kDouble).reshape({3, 2});
  at::Tensor z =
      at::tensor({0.9, -1.5, 0.8, 0.1}, at::kDouble).reshape({1, 2, 2});  // positions (0.9, 0.8), (-1.5, 0.1)
  codes.set_requires_grad(true);
  z.set_requires_grad(true);
  const Quantised found = quantised(z, codes, 0.25);
  CATCH_CHECK(found.index.equal(at::tensor({1, 2}, at::kLong).reshape({1, 2})));
  CATCH_CHECK(found.z.equal(at::tensor({1.0, -2.0, 1.0, 0.0}, at::kDouble).reshape({1, 2, 2})));
  const double error = (0.01 + 0.04 + 0.25 + 0.01) / 4;
  CATCH_CHECK(std::abs(found.penalty.item<double>() - 1.25 * error) < 1e-14);
  (found.z * 3.0).sum().backward({}, true);
  CATCH_CHECK(z.grad().equal(at::full({1, 2, 2}, 3.0, at::kDouble)));
  CATCH_CHECK((!codes.grad().defined() || codes.grad().abs().max().item<double>() == 0));
  z.mutable_grad() = at::Tensor();
  found.penalty.sum().backward();
  // d/dz of 0.25 mean (z - code)^2, and d/dcode of mean (code - z)^2.
  const at::Tensor difference = (z - found.z).detach();
  CATCH_CHECK(at::allclose(z.grad(), 0.25 * 2 * difference / 4, 0, 1e-14));
  CATCH_CHECK(std::abs(codes.grad()[1][0].item<double>() - 2 * 0.1 / 4) < 1e-14);
  CATCH_CHECK(codes.grad()[0].abs().max().item<double>() == 0);
}

CATCH_TEST_CASE("noted latents reach the denoiser with mean 0 and deviation 1", "[core][autoencoder]") {
  const LinearAutoencoder network(2);
  const at::Tensor z = spread(4096, 3).narrow(1, 0, 2) * 3.0 + 5.0;
  network.note(z);
  const LatentSpec spec = network.latent();
  const at::Tensor seen = latents_for_denoiser(spec, z.to(at::kDouble));
  CATCH_CHECK(seen.mean(0).abs().max().item<double>() < 1e-5);
  CATCH_CHECK((seen.std(0, false) - 1).abs().max().item<double>() < 1e-5);
  CATCH_CHECK(at::allclose(latents_from_denoiser(spec, seen), z.to(at::kDouble), 0, 1e-12));
}

CATCH_TEST_CASE("a linear autoencoder of Gaussian data comes to its principal components", "[core][autoencoder]") {
  auto backbone = std::make_unique<LinearAutoencoder>(2);
  const LinearAutoencoder& network = *backbone;
  const Model model = model_with(std::move(backbone));
  const ObjectivePtr what = objective("autoencoding", "{absolute: 0, squared: 1, kl_weight: 0}");
  what->prepare(model);
  train_on_spread(model, what, 1500, 1e-2);
  const c10::NoGradGuard no_grad;
  const at::Tensor x = spread(20000, 7);
  const double left = (network.decode(network.encode(x).mean) - x).square().sum(1).mean().item<double>();
  // What no pair of directions can hold: the two smallest variances (Eckart and Young 1936).
  const at::Tensor covariance = at::matmul(x.t(), x) / 20000.0;
  const double least = std::get<0>(at::linalg_eigh(covariance)).narrow(0, 0, 2).sum().item<double>();
  CATCH_CAPTURE(left, least);
  CATCH_CHECK(left < 1.02 * least);
  CATCH_CHECK(left > 0.999 * least);
  const at::Tensor seen = latents_for_denoiser(network.latent(), network.encode(x).mean);
  CATCH_CHECK((seen.std(0) - 1).abs().max().item<double>() < 0.3);  // of one batch of 128
}

CATCH_TEST_CASE("codes learn clusters", "[core][autoencoder]") {
  auto backbone = std::make_unique<LinearAutoencoder>(2, 8);
  const LinearAutoencoder& network = *backbone;
  const Model model = model_with(std::move(backbone));
  const auto error = [&] {
    const c10::NoGradGuard no_grad;
    const at::Tensor x = spread(4000, 7);
    return (network.decode(network.encode(x).mean) - x).square().sum(1).mean().item<double>();
  };
  const ObjectivePtr what = objective("autoencoding", "{absolute: 0, squared: 1, commitment: 0.25}");
  what->prepare(model);
  const double before = error();
  train_on_spread(model, what, 1500, 5e-3);
  CATCH_CAPTURE(before, error());
  CATCH_CHECK(error() < 0.5 * 5.26);  // of the whole variance
  CATCH_CHECK(error() < before);
}

CATCH_TEST_CASE("the discriminator hears nothing of the generator's part of the loss", "[core][autoencoder]") {
  Parameters parameters(3);
  const nn::PatchDiscriminator judge(Scope(parameters), 1, 8, 2);
  at::Tensor x = normals({2, 1, 16, 16}, 4, at::kFloat);
  x.set_requires_grad(true);
  CATCH_CHECK(judge.frozen()(x).equal(judge(x)));
  judge.frozen()(x).sum().backward();
  CATCH_CHECK(x.grad().abs().max().item<double>() > 0);
  for (const auto& [name, weight] : parameters.all()) {
    CATCH_CAPTURE(name);
    CATCH_CHECK(!weight.grad().defined());
  }
  judge(x.detach()).sum().backward();
  for (const auto& [name, weight] : parameters.all()) {
    CATCH_CAPTURE(name);
    CATCH_CHECK(weight.grad().defined());
  }
}

CATCH_TEST_CASE("what an autoencoder cannot be trained with is refused", "[core][autoencoder]") {
  const Model model = model_with(std::make_unique<LinearAutoencoder>(2));
  const auto refusal = [&](const Model& of, const char* yaml) {
    try {
      objective("autoencoding", yaml)->prepare(of);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CATCH_CHECK(refusal(model, "{}").empty());
  CATCH_CHECK(refusal(model, "{adversarial_weight: 0.1}").find("objective.adversarial_weight") != std::string::npos);
  CATCH_CHECK(refusal(model, "{perceptual: some}").find("no classifier") != std::string::npos);
  CATCH_CHECK(refusal(model_with(std::make_unique<Exact>()), "{}").find("no autoencoder") != std::string::npos);
}
