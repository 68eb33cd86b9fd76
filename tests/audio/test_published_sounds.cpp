// Published networks of sounds against goldens of diffusers, written by tests/peers/published_sounds.py --golden.

#include <cstring>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "experiments/catalog.h"
#include "experiments/forward.h"
#include "experiments/model_folder.h"
#include "experiments/opened_autoencoder.h"
#include "experiments/published_networks.h"
#include "experiments/sampling.h"
#include "tests/catch.h"
#include "tests/images/published_goldens.h"
#include "tests/io/scratch.h"

namespace fs = std::filesystem;
using namespace thaw;
using nlohmann::json;
using thaw::testing::changed;
using thaw::testing::golden;
using thaw::testing::largest;
using thaw::testing::Scratch;
using thaw::testing::tensor_of;

namespace {

const std::vector<std::string> kNetworks{"unet1d", "stable_audio", "oobleck"};
const std::vector<std::string> kDenoisers{"unet1d", "stable_audio"};

PublishedNetwork opened(const fs::path& folder, WeightType type = at::kFloat) {
  return open_published(folder, published_denoisers(), type);
}

template <class Function>
std::string refusal(const Function& function) {
  try {
    function();
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

std::string refusal_of(const fs::path& folder) {
  return refusal([&] {
    if (is_published_autoencoder(folder))
      open_published_autoencoder(folder);
    else
      opened(folder);
  });
}

/// The tensors of the golden's case as the network is told them.
struct Case {
  PublishedNetwork network;
  at::Tensor x, noise;
  Condition condition;

  explicit Case(const std::string& name, WeightType type = at::kFloat) : network(opened(golden(name), type)) {
    const fs::path in = golden(name) / "case" / "in.safetensors";
    x = tensor_of(in, network.input_name);
    noise = tensor_of(in, "timestep").to(at::kFloat);
    for (const auto& [key, tensor] : load_tensors(in).tensors)
      for (const PublishedArgument& argument : network.arguments)
        if (argument.name == key) condition[argument.condition] = tensor;
  }
  at::Tensor operator()() const { return network.backbone->forward(x, noise, condition); }
  std::string refused() const {
    return refusal([this] { (*this)(); });
  }
};

}  // namespace

CATCH_TEST_CASE("a published network of sounds gives what diffusers gives", "[audio][published][golden]") {
  for (const std::string& name : kNetworks) {
    CATCH_CAPTURE(name);
    const Scratch scratch;
    CATCH_REQUIRE(run_forward(golden(name), golden(name) / "case" / "in.safetensors", scratch / "out") == 0);
    const auto expected = load_tensors(golden(name) / "case" / "expected.safetensors").tensors;
    CATCH_REQUIRE(expected.size() == (name == "oobleck" ? 3 : 1));
    for (const auto& [key, tensor] : expected) {
      const at::Tensor output = tensor_of(scratch / "out", key);
      CATCH_REQUIRE(output.sizes() == tensor.sizes());
      CATCH_CHECK(largest(tensor) > 0.2);
      // float32 sums in another order; the weights are rounded to half precision before the peer's pass
      CATCH_CHECK(largest(output - tensor) <= 1e-5 * largest(tensor));
    }
  }
}

CATCH_TEST_CASE("each key of a published configuration of sounds is read or refused by name", "[audio][published]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& key, const json& value,
                           const std::string& said) {
    CATCH_CAPTURE(name, key, value.dump());
    const std::string message = refusal_of(changed(scratch.folder(), name, key, value));
    CATCH_CHECK_THAT(message, Catch::Contains(key) && Catch::Contains(said));
    CATCH_CHECK(message.find('\n') == std::string::npos);
  };
  refused("unet1d", "extra_in_chanels", 4, "Did you mean \"extra_in_channels\"");
  refused("unet1d", "down_block_types", {"DownResnetBlock1D", "DownBlock1D"}, "DownResnetBlock1D");
  refused("unet1d", "down_block_types", {"DownBlock1DNoSkip", "DownBlock1DNoSkip"}, "exactly where");
  refused("unet1d", "up_block_types", {"UpBlock1D"}, "expected 2 blocks");
  refused("unet1d", "up_block_types", {"UpBlock1D", "UpBlock1D"}, "block 1");
  refused("unet1d", "mid_block_type", "ValueFunctionMidBlock1D", "UNetMidBlock1D");
  refused("unet1d", "out_block_type", "ValueFunction", "null");
  refused("unet1d", "use_timestep_embedding", true, "planners");
  refused("unet1d", "downsample_each_block", true, "planners");
  refused("unet1d", "extra_in_channels", 0, "the 6 numbers of the time");
  refused("unet1d", "block_out_channels", {6, 31}, "got 31");
  refused("unet1d", "time_embedding_dim", 7, "even");
  refused("stable_audio", "num_key_value_attention_heads", 3, "must divide");
  refused("stable_audio", "attention_head_dim", 6, "multiple of 4");
  refused("stable_audio", "time_proj_dim", 15, "even");
  refused("oobleck", "downsampling_ratios", {2, 3}, "even numbers, got 3");
  refused("oobleck", "channel_multiples", {1, 2, 3}, "expected 2 numbers");
  refused("oobleck", "encoder_hidden_size", 10, "twice decoder_input_channels 4");
  refused("oobleck", "downsampling_ratios", std::vector<int>(9, 256), "more than");
  refused("oobleck", "sampling_rate", 0, "1000");
}

CATCH_TEST_CASE("a configuration of sounds beyond its weights names the tensor and both shapes", "[audio][published]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& key, const json& value,
                           const std::string& tensor) {
    CATCH_CAPTURE(name, key);
    CATCH_CHECK_THAT(refusal_of(changed(scratch.folder(), name, key, value)), Catch::Contains(tensor));
  };
  // Taken at its word, each of these would allocate gigabytes.
  refused("unet1d", "out_channels", 65536, "up_blocks.1.resnets.2.conv_2.weight");
  refused("stable_audio", "num_layers", 1024, "transformer_blocks.1.norm1.weight");
  refused("stable_audio", "global_states_input_dim", 65536,
          "\"global_proj.0.weight\" has shape [32, 14], config.json asks for [32, 65536]");
  refused("oobleck", "decoder_channels", 65536, "decoder.conv1.weight_g");
  refused("oobleck", "audio_channels", 1, "encoder.conv1.weight_v");
}

CATCH_TEST_CASE("a published network of sounds names what does not fit it, with both shapes", "[audio][published]") {
  const c10::NoGradGuard no_grad;
  const auto input = [](const std::string& name, const at::Tensor& x) {
    Case one(name);
    one.x = x;
    return one.refused();
  };
  const auto told = [](const std::string& key, const at::Tensor& tensor) {
    Case one("stable_audio");
    one.condition[key] = tensor;
    return one.refused();
  };
  CATCH_CHECK_THAT(input("unet1d", at::zeros({2, 2, 30})), Catch::Contains("multiple of 4 from 12 on, got [2, 2, 30]"));
  CATCH_CHECK_THAT(input("unet1d", at::zeros({2, 2, 8})), Catch::Contains("multiple of 4 from 12 on, got [2, 2, 8]"));
  CATCH_CHECK_THAT(input("unet1d", at::zeros({2, 3, 32})), Catch::Contains("[N, 2, T]"));
  CATCH_CHECK_THAT(input("stable_audio", at::zeros({2, 5, 12})), Catch::Contains("got [2, 5, 12]"));
  CATCH_CHECK_THAT(told("text", {}), Catch::Contains("\"text\": is missing"));
  CATCH_CHECK_THAT(told("global", at::zeros({2, 2, 14})), Catch::Contains("[2, 1, 14], got [2, 2, 14]"));
  CATCH_CHECK_THAT(told("mask", at::ones({2, 13}, at::kLong)), Catch::Contains("[2, 12], got [2, 13]"));
  CATCH_CHECK_THAT(told("text_mask", at::ones({2, 5})), Catch::Contains("whole numbers or booleans, got Float"));
  const auto autoencoder = open_published_autoencoder(golden("oobleck"));
  CATCH_CHECK(autoencoder.rate_hz == 44100);
  CATCH_CHECK(autoencoder.network->latent().factors == std::vector<std::int64_t>{8});
  CATCH_CHECK_THAT(refusal([&] {
                     autoencoder.network->encode(at::zeros({1, 2, 20}));
                   }),
                   Catch::Contains("multiple of 8, got [1, 2, 20]"));
  CATCH_CHECK_THAT(refusal([&] { autoencoder.network->decode(at::zeros({1, 3, 20})); }), Catch::Contains("[N, 4, T]"));
}

CATCH_TEST_CASE("a place of the sound that is masked is not seen by the others", "[audio][published]") {
  const c10::NoGradGuard no_grad;
  Case one("stable_audio");
  const std::int64_t length = one.x.size(2);
  at::Tensor mask = at::ones({2, length}, at::kBool);
  mask.narrow(1, length - 1, 1).fill_(false);
  one.condition["mask"] = mask;
  const auto others = [&] { return one().narrow(2, 0, length - 1); };
  const at::Tensor before = others();
  one.x.narrow(2, length - 1, 1).add_(1.0);
  CATCH_CHECK(at::equal(others(), before));
  one.condition.erase("mask");
  CATCH_CHECK(largest(others() - before) > 1e-3 * largest(before));
}

CATCH_TEST_CASE("the latents of a published autoencoder of sounds are data, and sounds again", "[audio][published]") {
  const Catalog catalog = make_catalog();
  Config config = Config::empty();
  config.set("codec.autoencoder", golden("oobleck").string());
  const CodecParts parts{[&](const std::string& path) { return open_autoencoder(path, catalog, "cpu", "float32"); }};
  const CodecPtr codec = catalog.codecs.create(config.section("codec"), "latent", parts);
  const at::Tensor sounds = tensor_of(golden("oobleck") / "case" / "in.safetensors", "sample");
  CATCH_CHECK(codec->encoded_shape({2, 48}) == std::vector<std::int64_t>{4, 6});
  CATCH_CHECK_THROWS_AS(codec->encoded_shape({2, 50}), DataError);
  const at::Tensor expected = tensor_of(golden("oobleck") / "case" / "expected.safetensors", "latents");
  CATCH_CHECK(largest(codec->encode(sounds) - expected) <= 1e-5 * largest(expected));
  CATCH_CHECK(codec->decode(codec->encode(sounds)).sizes() == sounds.sizes());
  const Scratch scratch;
  codec->write(sounds.narrow(0, 0, 1), scratch.folder(), "sound", 0);
  for (const auto& entry : fs::directory_iterator(scratch.folder())) {
    const std::string bytes = read_file(entry.path());
    std::uint32_t rate = 0;
    std::memcpy(&rate, bytes.data() + 24, 4);  // bytes 24 to 27 of a WAV file's header
    CATCH_CHECK(rate == 44100);
  }
}

CATCH_TEST_CASE("a published network of sounds draws sounds by its folder alone", "[audio][published]") {
  const c10::NoGradGuard no_grad;
  const Catalog catalog = make_catalog();
  const LoadedModel loaded = open_model(golden("unet1d"), catalog, {"grid.steps=2", "sampling.micro_batch=2"});
  const at::Tensor drawn = sample_all(loaded.model, make_request(*loaded.experiment, 2));
  CATCH_CHECK(drawn.sizes() == at::IntArrayRef({2, 2, 32}));
  const Scratch scratch;
  loaded.experiment->codec()->write(loaded.experiment->codec()->decode(drawn), scratch.folder(), "sound", 0);
  CATCH_CHECK(fs::exists(scratch / "sound_000001.wav"));
}

CATCH_TEST_CASE("a published network of sounds computes in the type of its weights", "[audio][published]") {
  const c10::NoGradGuard no_grad;
  for (const std::string& name : kDenoisers) {
    CATCH_CAPTURE(name);
    const at::Tensor wide = Case(name)(), brain = Case(name, at::kBFloat16)();
    CATCH_CHECK(brain.scalar_type() == at::kFloat);
    const double gap = largest(brain - wide) / largest(wide);
    CATCH_CHECK(gap > 0.0);
    CATCH_CHECK(gap < 0.1);  // 8 bits a number
  }
}
