// VGGish against numpy, and how published distances cut sounds for it.

#include <cmath>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint.h"
#include "experiments/experiment.h"
#include "modalities/audio/fad.h"
#include "modalities/audio/vggish.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"

using namespace thaw;
using namespace thaw::audio;
using thaw::test::Scratch;

namespace {

// The formulas of tests/peers/vggish.py.
at::Tensor values(int number, at::IntArrayRef shape, double scale) {
  const at::Tensor out = at::empty(shape, at::kDouble);
  double* value = out.data_ptr<double>();
  for (std::int64_t i = 0; i < out.numel(); ++i)
    value[i] = std::sin(0.7 * number + 1.3 * static_cast<double>(i)) * scale;
  return out;
}

NamedTensors formula_weights(const Vggish& network) {
  NamedTensors filled;
  int number = 0;
  for (const auto& [name, tensor] : network.parameters().all()) {
    const bool is_bias = name.ends_with(".bias");
    const double scale = is_bias ? 0.1 : 2.0 / std::sqrt(static_cast<double>(tensor[0].numel()));
    filled.emplace_back(name, values(++number, tensor.sizes(), scale).to(at::kFloat));
  }
  return filled;
}

at::Tensor formula_sound() {
  const at::Tensor t = at::arange(20000, at::kDouble);
  return (0.4 * (0.05 * t).sin() + 0.3 * (0.2 * t + 1e-5 * t * t).sin() + 0.05 * (2.3 * t).sin()).unsqueeze(0);
}

const VggishProtocol& protocol(const std::string& name) {
  for (const VggishProtocol& one : vggish_protocols())
    if (one.name == name) return one;
  throw std::runtime_error(name);
}

}  // namespace

CATCH_TEST_CASE("VGGish in small and its log mels are numpy's", "[audio][vggish]") {
  const Scratch scratch("vggish");
  const nlohmann::json golden = nlohmann::json::parse(read_file("tests/golden/vggish.json"));
  const at::Tensor frames = vggish_frames(formula_sound());
  CATCH_REQUIRE(frames.sizes() == at::IntArrayRef({1, golden["frames"].get<std::int64_t>(), 64}));
  const at::Tensor expected = at::tensor(golden["log_mels"].get<std::vector<double>>(), at::kDouble);
  const at::Tensor found = frames[0].slice(0, 0, {}, 10).slice(1, 0, {}, 3).flatten();
  CATCH_CHECK((found - expected).abs().max().item<double>() < 1e-9);
  CATCH_CHECK((vggish_frames(formula_sound().to(at::kFloat)) - frames).abs().max().item<double>() < 1e-3);

  NamedTensors weights = formula_weights(Vggish(16));
  weights.emplace_back("pproc.pca_means", at::zeros({128}));  // beside the weights of the published file
  save_tensors(scratch / "vggish.safetensors", weights);
  const auto network = open_vggish(scratch / "vggish.safetensors", 16);
  const at::Tensor embedding = at::tensor(golden["embedding"].get<std::vector<double>>(), at::kFloat);
  const at::Tensor examples = frames.narrow(1, 0, 96).to(at::kFloat);
  CATCH_CHECK((network->embedded(examples, false)[0] - embedding).abs().max().item<double>() < 1e-5);
  CATCH_CHECK(at::equal(network->embedded(-examples, true), network->embedded(-examples, false).relu()));
  CATCH_CHECK_THROWS_WITH(open_vggish(scratch / "vggish.safetensors"), Catch::Contains("features.0.weight"));
}

CATCH_TEST_CASE("the published network has the weights of the PyTorch port", "[audio][vggish]") {
  std::int64_t count = 0;
  std::vector<std::string> names;
  const Vggish network;
  for (const auto& [name, tensor] : network.parameters().all()) {
    count += tensor.numel();
    if (name.ends_with(".weight")) names.push_back(name);
  }
  CATCH_CHECK(count == 72'141'184);
  CATCH_CHECK(names == std::vector<std::string>{"features.0.weight", "features.3.weight", "features.6.weight",
                                                "features.8.weight", "features.11.weight", "features.13.weight",
                                                "embeddings.0.weight", "embeddings.2.weight", "embeddings.4.weight"});
}

CATCH_TEST_CASE("published distances cut and scale sounds as their code does", "[audio][vggish]") {
  // 2.25 s: three windows of a second every half; 223 frames, two times 96.
  const at::Tensor raw = (0.01 * at::arange(36000, at::kFloat)).sin().reshape({1, 1, 36000}).expand({2, 2, 36000});
  const at::Tensor google = protocol("fad-google").examples(raw), port = protocol("fad-gudgud96").examples(raw);
  CATCH_CHECK(google.sizes() == at::IntArrayRef({2, 3, 96, 64}));
  CATCH_CHECK(port.sizes() == at::IntArrayRef({2, 2, 96, 64}));
  const at::Tensor mono = raw.select(1, 0);
  CATCH_CHECK(at::allclose(port[0][1], vggish_frames(mono)[0].narrow(0, 96, 96)));
  CATCH_CHECK(at::allclose(google[1][2], vggish_frames(mono.narrow(1, 16000, 16000))[1].narrow(0, 0, 96), 0, 3e-3));
  // The first is divided by its largest sample, not its largest distance from zero, and by no less than 0.1.
  const at::Tensor low = raw.clamp_max(0.25);
  CATCH_CHECK(at::allclose(protocol("fad-google").examples(low), protocol("fad-google").examples(low / 2.5), 0, 3e-3));
  CATCH_CHECK(at::allclose(protocol("fad-google").examples(raw * 0.05)[0][0],
                           vggish_frames(mono.narrow(1, 0, 16000) * 0.5)[0].narrow(0, 0, 96), 0, 3e-3));
  CATCH_CHECK_THROWS_WITH(protocol("fad-google").examples(raw.narrow(2, 0, 15999)),
                          Catch::Equals("fad-google: sounds of 15999 samples, the protocol takes 16000 or more."));
  CATCH_CHECK(protocol("fad-gudgud96").examples(raw.narrow(2, 0, 15600)).size(1) == 1);
  CATCH_CHECK_THROWS_AS(protocol("fad-gudgud96").examples(raw.narrow(2, 0, 15599)), DataError);
}

CATCH_TEST_CASE("a distance by VGGish says what it lacks", "[audio][vggish]") {
  const Catalog catalog = make_catalog();
  const auto refused = [&](const std::string& settings) {
    const Config config = Config::parse("m: {type: fad-google, " + settings + "}", "t");
    try {
      catalog.metrics.create(config.section("m"), "", MetricParts{.section = config});
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CATCH_CHECK_THAT(refused("rate: 16000"), Catch::Contains("network: names no file: VGGish's weights"));
  CATCH_CHECK_THAT(refused("rate: 22050, network: a.safetensors"),
                   Catch::Contains("VGGish hears 16000 samples a second, the data has 22050."));
}
