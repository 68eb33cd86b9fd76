// A network that gives sounds to mel spectrograms: what it is told, where it hears it, training, sampling behind
// another.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/checkpoint.h"
#include "experiments/model_folder.h"
#include "experiments/pipeline.h"
#include "experiments/sampling.h"
#include "modalities/audio/vocoder.h"
#include "tests/audio/networks.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::fresh;
using thaw::testing::gap;
using thaw::testing::Scratch;
using thaw::testing::sounds;
using thaw::testing::stirred;

namespace {

constexpr std::int64_t kSamples = 2048, kHop = 256;
const DataSpec kSpec{{1, kSamples}, 3};
const std::string kSmall = "{type: diffwave, width: 8, depth: 4, cycle: 3, embedding: 16, told_of_sample: mel";
const at::Tensor x = sounds({2, 1, kSamples});
const at::Tensor noise = at::tensor({10.0f, 500.0f});
const Condition label{{"label", at::tensor({0, 1}, at::kLong)}};

std::string refusal(const std::string& yaml, const DataSpec& spec = kSpec) {
  try {
    fresh(yaml, spec);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

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

}  // namespace

CATCH_TEST_CASE("a vocoder is told the mel spectrogram of the sound it draws", "[audio][vocoder]") {
  const auto backbone = fresh(kSmall + "}", kSpec);
  const Condition condition = with_told_of_sample(*backbone, x, label);
  CATCH_REQUIRE(condition.size() == 2);
  CATCH_CHECK(at::equal(condition.at("mel"), audio::MelTransform(audio::mel_preset("thaw")).forward(x.squeeze(1))));
  CATCH_CHECK(condition.at("mel").sizes() == at::IntArrayRef({2, 64, kSamples / kHop + 1}));
  // Other networks are told nothing.
  CATCH_CHECK(with_told_of_sample(*fresh("{type: diffwave, width: 8, depth: 2}", kSpec), x, label).size() == 1);
}

CATCH_TEST_CASE("a frame is heard where it lies in the sound, and by nothing beyond its neighbours",
                "[audio][vocoder]") {
  const c10::NoGradGuard no_grad;
  const auto backbone = stirred(kSmall + "}", kSpec);
  Condition condition = with_told_of_sample(*backbone, x, label);
  const at::Tensor output = backbone->forward(x, noise, condition);
  const std::int64_t frame = 3;
  condition["mel"] = condition["mel"].clone();
  condition["mel"].select(2, frame).add_(1.0);
  const at::Tensor moved = (backbone->forward(x, noise, condition) - output).abs()[0][0];
  // Lines go to zero a hop away; the stack reaches 1 + 2 + 4 + 1 further and the first convolution one.
  const std::int64_t reach = kHop + (1 + 2 + 4 + 1) + 1;
  for (std::int64_t t = 0; t < kSamples; ++t)
    if (std::abs(t - frame * kHop) >= reach) CATCH_REQUIRE(moved[t].item<double>() == 0.0);
  CATCH_CHECK(moved[frame * kHop].item<double>() > 1e-4);
  // Most in the middle.
  CATCH_CHECK(std::abs(moved.argmax().item<std::int64_t>() - frame * kHop) < kHop / 2);
}

CATCH_TEST_CASE("a vocoder that is told nothing or another spectrogram says so", "[audio][vocoder]") {
  const auto backbone = fresh(kSmall + "}", kSpec);
  CATCH_CHECK_THROWS_WITH(backbone->forward(x, noise, label), Catch::Contains("was told none"));
  Condition condition = label;
  condition["mel"] = at::zeros({2, 64, 8});
  CATCH_CHECK_THROWS_WITH(backbone->forward(x, noise, condition),
                          Catch::Contains("expected [2, 64, 9], got [2, 64, 8]"));
  CATCH_CHECK_THAT(refusal(kSmall + ", given: true}"), Catch::Contains("given") && Catch::Contains("does not go with"));
  CATCH_CHECK_THAT(refusal(kSmall + ", coarse: 2}"), Catch::Contains("coarse"));
  CATCH_CHECK_THAT(refusal(kSmall + "}", {{1, 2000}, 3}), Catch::Contains("multiple of the hop 256"));
  CATCH_CHECK_THAT(refusal(kSmall + "}", {{1, 512}, 3}), Catch::Contains("longer than 512"));
  CATCH_CHECK_THAT(refusal(kSmall + ", mel_hop: 600}"), Catch::Contains("at most 512"));
}

CATCH_TEST_CASE("a vocoder trains, and draws by what it is told", "[audio][vocoder]") {
  Catalog catalog = make_catalog();
  catalog.datasets.add({{"chirps", "Sines.", "", {{"split", std::string("train"), "either"}}, {}},
                        [](const Settings&) { return std::make_shared<Chirps>(); }});
  const auto experiment = [&](const std::string& backbone) {
    return Experiment(Config::parse("seed: 3\nprecision: float32\ndataset: chirps\ncodec: waveform\nschedule: cosine\n"
                                    "objective: {type: denoising, prediction: v}\nbackbone: " +
                                        backbone +
                                        "\ntrain: {steps: 2, batch: 2, checkpoint_every: 2, optimizer: {warmup: 1}}\n"
                                        "sampler: ddim\ngrid: {type: trailing, steps: 2}\nsampling: {micro_batch: 2}\n"
                                        "evaluate: {metrics: []}\n",
                                    "t.yaml"),
                      catalog);
  };
  const Scratch scratch;
  const Experiment vocoder = experiment(kSmall + "}");
  CATCH_CHECK(is_told_of_sample(vocoder));
  CATCH_CHECK(!is_told_of_sample(experiment("{type: diffwave, width: 8, depth: 2}")));
  run_pipeline(vocoder, {scratch / "run", "test", {"train"}});
  const LoadedModel trained = open_model(scratch / "run", catalog, {"device=cpu"});
  const SampleRequest request = make_request(*trained.experiment, 2);
  const at::Tensor drawn = sample_all(trained.model, request);
  CATCH_CHECK(drawn.sizes() == at::IntArrayRef({2, 1, kSamples}));
  CATCH_CHECK(at::isfinite(drawn).all().item<bool>());
  // Told of other sounds it draws others from the same noise.
  SampleRequest other = request;
  other.told_of = request.told_of.flip(0);
  CATCH_CHECK(gap(sample_all(trained.model, other), drawn) > 1e-5);
}
