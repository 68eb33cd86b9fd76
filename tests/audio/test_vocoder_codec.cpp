// Mel spectrograms that a vocoder makes sound again: the codec draws with it, and takes none that hears otherwise.

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "experiments/model_folder.h"
#include "experiments/pipeline.h"
#include "experiments/sampling.h"
#include "modalities/audio/mel.h"
#include "tests/audio/networks.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::gap;
using thaw::testing::Scratch;

namespace {

constexpr std::int64_t kSamples = 2048, kHop = 256;

/// Chirps whose class is their pitch, long enough for a window.
class Chirps : public Dataset {
 public:
  std::int64_t size() const override { return 16; }
  std::int64_t num_classes() const override { return 3; }
  Example get(std::int64_t index) const override {
    const at::Tensor angle = at::arange(kSamples, at::kFloat) * (0.05 * static_cast<double>(1 + index % 3)) + index;
    return {0.5 * angle.sin().unsqueeze(0), {{"label", at::full({}, index % 3, at::kLong)}}};
  }
};

const Catalog& catalog() {
  static const Catalog own = [] {
    Catalog made = make_catalog();
    made.datasets.add({{"chirps", "Sines.", "", {{"split", std::string("train"), "either"}}, {}},
                       [](const Settings&) { return std::make_shared<Chirps>(); }});
    return made;
  }();
  return own;
}

Experiment experiment(const std::string& codec, const std::string& backbone) {
  return Experiment(
      Config::parse("seed: 3\nprecision: float32\ndevice: cpu\ndataset: chirps\ncodec: " + codec +
                        "\nschedule: cosine\nobjective: {type: denoising, prediction: v}\nbackbone: " + backbone +
                        "\ntrain: {steps: 2, batch: 2, checkpoint_every: 2, optimizer: {warmup: 1}}\n"
                        "sampler: ddim\ngrid: {type: trailing, steps: 2}\nsampling: {micro_batch: 2}\n"
                        "evaluate: {metrics: []}\n",
                    "t.yaml"),
      catalog());
}

const std::string kUnet = "{type: unet, width: 8, multipliers: [1, 2], attention: []}";

/// A run of two steps.
std::string train_vocoder(const Scratch& scratch, const std::string& more = "") {
  const std::string run = (scratch / "run").string();
  const std::string network = "{type: diffwave, width: 8, depth: 4, cycle: 3, embedding: 16, told_of_sample: mel";
  run_pipeline(experiment("waveform", network + more + "}"), {run, "test", {"train"}});
  return run;
}

std::string refusal(const std::string& codec) {
  try {
    experiment(codec, kUnet);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

CATCH_TEST_CASE("a codec draws the sound of a spectrogram with a vocoder that is told it", "[audio][vocoder]") {
  const Scratch scratch;
  const std::string run = train_vocoder(scratch);
  const Experiment mel = experiment("{type: mel, vocoder: " + run + "}", kUnet);
  const Codec& codec = *mel.codec();
  // Twice as long as what it was trained on.
  const at::Tensor rise = at::arange(2 * kSamples, at::kFloat).square() * 5e-5;
  const at::Tensor raw = 0.3 * at::stack({rise, 2 * rise, 3 * rise}).sin().unsqueeze(1), z = codec.encode(raw);
  const at::Tensor drawn = codec.decode(z);
  CATCH_REQUIRE(drawn.sizes() == raw.sizes());
  CATCH_CHECK(at::equal(codec.decode(z), drawn));
  // What stands beside a sound does not change it, to the bit; another spectrogram does.
  CATCH_CHECK(at::equal(codec.decode(z.narrow(0, 2, 1)), drawn.narrow(0, 2, 1)));
  CATCH_CHECK(gap(codec.decode(z.flip(2)), drawn) > 1e-5);

  // The same by hand: told the spectrogram with its last frame again, for no class, from the noise of sample 0.
  const LoadedModel vocoder = open_model(run, catalog(), {"device=cpu"});
  SampleRequest request = plain_request(*vocoder.experiment, 1);
  const at::Tensor all = audio::MelTransform(audio::mel_preset("thaw")).forward(raw[1]);
  const std::int64_t frames = 2 * kSamples / kHop;
  CATCH_REQUIRE(all.size(2) == frames + 1);
  request.condition["mel"] = at::cat({all.narrow(2, 0, frames), all.narrow(2, frames - 1, 1)}, 2);
  request.labels = {3};
  request.positions = 2 * kSamples;
  at::Tensor expected = sample_all(vocoder.model, request);
  expected = expected - expected.mean();
  expected = expected * (0.999 / std::max(0.999, expected.abs().max().item<double>()));
  CATCH_CHECK(gap(drawn.narrow(0, 1, 1), expected) < 1e-6);

  // Stages depend on its weights.
  const auto files = codec.files();
  CATCH_CHECK(std::ranges::any_of(files, [](const auto& path) { return path.extension() == ".safetensors"; }));
  CATCH_CHECK(experiment("mel", kUnet).codec()->files().empty());
}

CATCH_TEST_CASE("a vocoder that is told otherwise, or nothing, is refused in one line", "[audio][vocoder]") {
  const Scratch scratch;
  const std::string run = train_vocoder(scratch), named = "vocoder: " + run;
  CATCH_CHECK(refusal("{type: mel, " + named + "}") == "accepted");
  CATCH_CHECK_THAT(refusal("{type: mel, hop: 128, " + named + "}"),
                   Catch::Contains("codec.vocoder") && Catch::Contains("is told [64, 9] of a sound of which this codec "
                                                                       "makes [64, 17]"));
  CATCH_CHECK_THAT(refusal("{type: mel, preset: torchaudio, " + named + "}"), Catch::Contains("makes [128, "));
  CATCH_CHECK_THAT(refusal("{type: mel, f_max: 6000, " + named + "}"), Catch::Contains("encodes otherwise"));
  CATCH_CHECK_THAT(refusal("{type: mel, rate: 22050, " + named + "}"), Catch::Contains("encodes otherwise"));

  const std::string other = (scratch / "other").string(), self = (scratch / "self").string();
  run_pipeline(experiment("waveform", "{type: diffwave, width: 8, depth: 2}"), {other, "test", {"train"}});
  CATCH_CHECK_THAT(refusal("{type: mel, vocoder: " + other + "}"), Catch::Contains("is told nothing of the samples"));
  CATCH_CHECK_THAT(refusal("{type: mel, vocoder: " + self + "}"), Catch::Contains("is no model directory"));
  make_folder(self);
  write_file(scratch / "self" / "thaw.yaml", "dataset: chirps\ncodec: {type: mel, vocoder: " + self + "}\n");
  CATCH_CHECK_THAT(refusal("{type: mel, vocoder: " + self + "}"), Catch::Contains("does one open itself?"));
}
