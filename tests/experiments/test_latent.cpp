// Latent diffusion in small: an autoencoder, a denoiser of its latents, samples that are pictures.

#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;

namespace {

const char* const kAutoencoder = R"(
seed: 3
precision: float32
dataset: {type: mnist, path: data/mnist, split: train, range: [0, 256]}
objective: {type: autoencoding, adversarial_weight: 0.1, adversarial_start: 10, discriminator_width: 8, discriminator_depth: 2, perceptual: models/digit_features, perceptual_weight: 0.1}
backbone: {type: convolutional_autoencoder, width: 8, multipliers: [1], patch: 2, latent_channels: 2}
train: {steps: 20, batch: 16, checkpoint_every: 8, optimizer: {warmup: 2, learning_rate: 3.0e-3}, ema: {decay: 0.5}}
evaluate: {n: 24, metrics: [psnr]}
)";

const char* const kDenoiser = R"(
seed: 3
precision: float32
dataset: {type: mnist, path: data/mnist, split: train, range: [0, 100]}
objective: {type: denoising, prediction: v}
backbone: {type: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
train: {steps: 6, batch: 16, checkpoint_every: 3, validate_every: 3, optimizer: {warmup: 2}}
sampler: ddim
grid: {type: trailing, steps: 3}
evaluate: {n: 4, metrics: [class_agreement], judge: models/digit_judge}
)";

}  // namespace

CATCH_TEST_CASE("an autoencoder trains, resumes to the same bits, and is measured", "[experiments][latent]") {
  const Scratch scratch("autoencoder");
  write_file(scratch / "a.yaml", kAutoencoder);
  const std::string config = scratch / "a.yaml";
  const Outcome whole = run_program("run " + config + " out=" + (scratch / "whole").string(), scratch);
  CATCH_CAPTURE(whole.err);
  CATCH_REQUIRE(whole.code == 0);
  const nlohmann::json metrics = json_of(scratch / "whole" / "metrics.json");
  CATCH_CHECK(metrics["psnr"].get<double>() > 8.0);  // 7 dB: every pixel at the mean
  CATCH_CHECK(std::filesystem::exists(scratch / "whole" / "pictures" / "reconstructions.png"));
  const nlohmann::json pictures = json_of(scratch / "whole" / "pictures" / "index.json");
  CATCH_CHECK(pictures["reconstructions"].size() == pictures["originals"].size());
  const std::string page = read_file(scratch / "whole" / "report.html");
  CATCH_CHECK(page.find("held-out examples, given back") != std::string::npos);
  CATCH_CHECK(page.find("held-out examples, original") != std::string::npos);
  // The same from the checkpoint of step 16, which holds the discriminator.
  const std::filesystem::path from = scratch / "whole" / "checkpoints", to = scratch / "part" / "checkpoints";
  std::filesystem::create_directories(to);
  for (const auto& entry : std::filesystem::directory_iterator(from))
    if (entry.path().filename().string().find("20") == std::string::npos)
      std::filesystem::copy(entry.path(), to / entry.path().filename());
  const Outcome second = run_program("train " + config + " out=" + (scratch / "part").string(), scratch);
  CATCH_CAPTURE(second.err);
  CATCH_REQUIRE(second.code == 0);
  CATCH_CHECK(second.err.find("going on from step 16") != std::string::npos);
  CATCH_CHECK(read_file(scratch / "whole" / "model" / "model.safetensors") ==
              read_file(scratch / "part" / "model" / "model.safetensors"));
}

CATCH_TEST_CASE("a denoiser of latents trains from the cache, and its samples are pictures", "[experiments][latent]") {
  const Scratch scratch("latent");
  const std::string cache = "XDG_CACHE_HOME=" + (scratch / "cache").string();
  write_file(scratch / "a.yaml", kAutoencoder);
  const auto trained = [&](const std::string& name, const std::string& more) {
    return run_program("train " + (scratch / "a.yaml").string() + " out=" + (scratch / name).string() + more, scratch);
  };
  CATCH_REQUIRE(trained("one", "").code == 0);
  CATCH_REQUIRE(trained("other", " seed=4").code == 0);
  const auto denoiser = [&](const std::string& autoencoder, const std::string& out, const std::string& more) {
    write_file(scratch / "d.yaml",
               kDenoiser + ("codec: {type: latent, autoencoder: " + (scratch / autoencoder).string() + "}\n"));
    return run_program("run " + (scratch / "d.yaml").string() + " out=" + (scratch / out).string() + more, scratch,
                       cache);
  };
  const auto cached = [&] {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(scratch / "cache" / "thaw" / "latents"))
      count += entry.path().extension() == ".safetensors" ? 1 : 0;
    return count;
  };
  const Outcome first = denoiser("one", "first", "");
  CATCH_CAPTURE(first.err);
  CATCH_REQUIRE(first.code == 0);
  CATCH_CHECK(cached() == 1);
  CATCH_CHECK(std::filesystem::exists(scratch / "first" / "pictures" / "class_0.png"));
  CATCH_CHECK(json_of(scratch / "first" / "metrics.json").contains("class_agreement"));
  // Again: from the cache, to the same bits; without it: the same numbers.
  CATCH_REQUIRE(denoiser("one", "again", "").code == 0);
  CATCH_CHECK(cached() == 1);
  CATCH_CHECK(log_of(scratch / "first") == log_of(scratch / "again"));
  CATCH_REQUIRE(denoiser("one", "plain", " train.cache_latents=false").code == 0);
  CATCH_CHECK(log_of(scratch / "first") == log_of(scratch / "plain"));
  // Another autoencoder, and other data, are never served what is there.
  CATCH_REQUIRE(denoiser("other", "others", "").code == 0);
  CATCH_CHECK(cached() == 2);
  CATCH_CHECK(log_of(scratch / "first") != log_of(scratch / "others"));
  CATCH_REQUIRE(denoiser("one", "more", " dataset.range=[100,200]").code == 0);
  CATCH_CHECK(cached() == 3);
  const Outcome classifier = run_program(
      "run " + (scratch / "d.yaml").string() + " codec.autoencoder=models/digit_judge out=" + (scratch / "no").string(),
      scratch);
  CATCH_CHECK(classifier.code == 2);
  CATCH_CHECK(classifier.err.find("codec.autoencoder: models/digit_judge is no autoencoder.") != std::string::npos);
  CATCH_CHECK(!std::filesystem::exists(scratch / "no"));
  const Outcome sampled = run_program("sample " + (scratch / "one").string() + " n=1", scratch);
  CATCH_CHECK(sampled.err.find("is an autoencoder; it gives no samples.") != std::string::npos);
}

CATCH_TEST_CASE("a denoiser trains on the latents of a published autoencoder", "[experiments][latent]") {
  const Scratch scratch("published_latent");
  const std::string cache = "XDG_CACHE_HOME=" + (scratch / "cache").string();
  write_file(scratch / "d.yaml", R"(
seed: 3
precision: float32
dataset: {type: captioned_digits, path: data/mnist, split: train, size: 32, most: 1}
codec: {type: latent, autoencoder: tests/golden/autoencoder_kl}
objective: {type: denoising, prediction: v}
backbone: {type: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: [], words: [a, red]}
train: {steps: 3, batch: 8, checkpoint_every: 3, optimizer: {warmup: 2}}
sampler: ddim
grid: {type: trailing, steps: 3}
)");
  const std::string out = (scratch / "run").string();
  const Outcome trained = run_program("train " + (scratch / "d.yaml").string() + " out=" + out, scratch, cache);
  CATCH_CAPTURE(trained.err);
  CATCH_REQUIRE(trained.code == 0);
  const Outcome sampled =
      run_program("sample " + out + " n=2 prompt=\"a red 3\" out=" + (scratch / "s.npz").string(), scratch);
  CATCH_CAPTURE(sampled.err);
  CATCH_REQUIRE(sampled.code == 0);
  // Pictures of the data's own size came back: 32 x 32 latents of 4 channels, a factor of 2.
  const std::string header = read_file(scratch / "run" / "model" / "thaw.yaml");
  CATCH_CHECK(header.find("shape: [4, 32, 32]") != std::string::npos);
  // What is not there, or is no autoencoder, is one line.
  const Outcome network = run_program("train " + (scratch / "d.yaml").string() +
                                          " codec.autoencoder=tests/golden/unet2d out=" + (scratch / "no").string(),
                                      scratch, cache);
  CATCH_CAPTURE(network.err);
  CATCH_CHECK(network.code == 3);
  CATCH_CHECK(network.err.find("UNet2DModel") != std::string::npos);
  CATCH_CHECK(!std::filesystem::exists(scratch / "no"));
}
