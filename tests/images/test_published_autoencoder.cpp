// Autoencoders behind their interface: statistics of latents, pieces.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/autoencoder.h"
#include "core/base/error.h"
#include "modalities/images/published.h"
#include "tests/catch.h"
#include "tests/images/published_goldens.h"
#include "tests/io/scratch.h"

using thaw::testing::changed;
using thaw::testing::golden;
using thaw::testing::largest;
using thaw::testing::tensor_of;

namespace {

std::shared_ptr<const thaw::Autoencoder> open(const std::string& name) {
  return thaw::image::open_published_autoencoder(golden(name));
}

}  // namespace

CATCH_TEST_CASE("an autoencoder says what its latents are", "[images][published][autoencoder]") {
  const thaw::LatentSpec kl = open("autoencoder_kl")->latent(), tiny = open("autoencoder_tiny")->latent();
  CATCH_CHECK((kl.data_channels == 3 && kl.channels == 4));
  CATCH_CHECK(kl.factors == std::vector<std::int64_t>{2, 2});
  CATCH_CHECK(kl.scale == std::vector<double>{0.18215});
  CATCH_CHECK(tiny.factors == std::vector<std::int64_t>{4, 4});
  CATCH_CHECK(tiny.scale == std::vector<double>{1.0});
  const thaw::testing::Scratch scratch;
  const auto shifted = [&](const std::string& key, const nlohmann::json& value) {
    return thaw::image::open_published_autoencoder(changed(scratch.folder(), "autoencoder_kl", key, value))->latent();
  };
  CATCH_CHECK(shifted("shift_factor", 0.0609).shift == std::vector<double>{0.0609});
}

CATCH_TEST_CASE("latents are shifted, then scaled, channel by channel", "[core][autoencoder]") {
  const thaw::LatentSpec one{3, 2, {8, 8}, {0.5}, {3.0}}, each{3, 2, {8, 8}, {0.5, 2.0}, {3.0, -1.0}};
  const at::Tensor z = at::full({1, 2, 1, 1}, 5.0);
  CATCH_CHECK(at::equal(thaw::latents_for_denoiser(one, z), at::full({1, 2, 1, 1}, 1.0)));
  CATCH_CHECK(at::equal(thaw::latents_for_denoiser(each, z), at::tensor({1.0, 12.0}).reshape({1, 2, 1, 1})));
  for (const thaw::LatentSpec& spec : {one, each})
    CATCH_CHECK(at::equal(thaw::latents_from_denoiser(spec, thaw::latents_for_denoiser(spec, z)), z));
  // of sound: [N, C, L]
  CATCH_CHECK(largest(thaw::latents_for_denoiser(each, at::full({1, 2, 7}, 5.0)).select(1, 1) - 12.0) == 0.0);
}

CATCH_TEST_CASE("a draw has the posterior's mean and spread", "[core][autoencoder]") {
  const at::Tensor mean = at::full({2}, 3.0), log_variance = at::full({2}, std::log(4.0));
  CATCH_CHECK(at::equal(thaw::draw({mean, log_variance}), mean));
  CATCH_CHECK(at::allclose(thaw::draw({mean, log_variance}, at::tensor({1.0, -2.0}).to(at::kFloat)),
                           at::tensor({5.0, -1.0}).to(at::kFloat)));
  CATCH_CHECK(at::equal(thaw::draw({mean}, at::ones({2})), mean));
}

CATCH_TEST_CASE("tiles are blended as diffusers blends them", "[images][published][autoencoder][golden]") {
  const c10::NoGradGuard no_gradient;
  // sample_size 8: a tile of 8 pixels is 4 latent positions
  const auto whole = open("autoencoder_kl");
  const auto pieces = thaw::tiled(whole, {4});
  const auto folder = golden("autoencoder_kl") / "case";
  const at::Tensor x = tensor_of(folder / "in.safetensors", "sample");
  const at::Tensor latents = tensor_of(folder / "expected.safetensors", "latents");
  const at::Tensor encoded = tensor_of(folder / "expected.safetensors", "tiled_latents");
  const at::Tensor decoded = tensor_of(folder / "expected.safetensors", "tiled_sample");
  CATCH_CHECK(largest(encoded - latents) > 1e-2);
  CATCH_CHECK(largest(pieces->encode(x).mean - encoded) <= 1e-5 * largest(encoded));
  CATCH_CHECK(largest(pieces->decode(latents) - decoded) <= 1e-5 * largest(decoded));
  CATCH_CHECK(pieces->encode(x).log_variance.sizes() == latents.sizes());
}

CATCH_TEST_CASE("tiles of a network of bounded reach give the whole, away from their seams",
                "[images][published][autoencoder]") {
  const c10::NoGradGuard no_gradient;
  const auto whole = open("autoencoder_tiny");
  // Reach of a decoded pixel: at most 10 latent positions a side (14 convolutions of 3, most at a finer grid).
  const std::int64_t side = 48;
  const auto pieces = thaw::tiled(whole, {side});
  const at::Tensor z = at::sin(at::arange(2 * 4 * 72 * 60, at::kFloat) * 0.37).reshape({2, 4, 72, 60});
  const at::Tensor expected = whole->decode(z), output = pieces->decode(z);
  CATCH_REQUIRE(output.sizes() == expected.sizes());
  const auto corner = [](const at::Tensor& y) { return y.narrow(2, 0, 4 * 24).narrow(3, 0, 4 * 24); };
  CATCH_CHECK(largest(corner(output) - corner(expected)) <= 1e-5 * largest(expected));
  const auto far = [](const at::Tensor& y) { return y.narrow(2, 4 * 60, 4 * 12).narrow(3, 0, 4 * 24); };
  CATCH_CHECK(largest(far(output) - far(expected)) <= 1e-5 * largest(expected));
  CATCH_CHECK(at::equal(thaw::tiled(whole, {72})->decode(z), expected));
}

CATCH_TEST_CASE("one sample at a time gives the batch", "[images][published][autoencoder]") {
  const c10::NoGradGuard no_gradient;
  for (const std::string name : {"autoencoder_kl", "autoencoder_tiny"}) {
    const auto whole = open(name);
    const auto pieces = thaw::tiled(whole, {0, true});
    const at::Tensor x = tensor_of(golden(name) / "case" / "in.safetensors", "sample");
    const at::Tensor latents = whole->encode(x).mean, decoded = whole->decode(latents);
    CATCH_REQUIRE(x.size(0) == 2);
    CATCH_CHECK(largest(pieces->encode(x).mean - latents) <= 1e-5 * largest(latents));
    CATCH_CHECK(largest(pieces->decode(latents) - decoded) <= 1e-5 * largest(decoded));
  }
}

CATCH_TEST_CASE("an autoencoder refuses what does not fit it", "[images][published][autoencoder]") {
  const auto kl = open("autoencoder_kl");
  CATCH_CHECK_THROWS_AS(kl->encode(at::zeros({1, 4, 8, 8})), thaw::DataError);
  CATCH_CHECK_THROWS_AS(kl->encode(at::zeros({1, 3, 7, 8})), thaw::DataError);
  CATCH_CHECK_THROWS_AS(kl->decode(at::zeros({1, 3, 8, 8})), thaw::DataError);
  CATCH_CHECK_THROWS_AS(thaw::tiled(kl, {4})->encode(at::zeros({1, 3, 15, 64})), thaw::DataError);
  CATCH_CHECK_THROWS_AS(thaw::tiled(kl, {6}), thaw::ConfigError);
}
