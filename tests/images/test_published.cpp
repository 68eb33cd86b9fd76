// Published networks against goldens of diffusers, written by tests/peers/published_networks.py --golden.

#include <fstream>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint.h"
#include "experiments/forward.h"
#include "modalities/images/published.h"
#include "tests/catch.h"
#include "tests/images/published_goldens.h"
#include "tests/io/scratch.h"

namespace fs = std::filesystem;
using nlohmann::json;
using thaw::testing::changed;
using thaw::testing::golden;
using thaw::testing::largest;
using thaw::testing::Scratch;
using thaw::testing::tensor_of;

namespace {

std::string refusal(const fs::path& folder) {
  try {
    thaw::image::open_published(folder);
  } catch (const thaw::DataError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

CATCH_TEST_CASE("a published network gives what diffusers gives", "[images][published][golden]") {
  for (const std::string name : {"unet2d", "dit"}) {
    CATCH_CAPTURE(name);
    const Scratch scratch;
    CATCH_REQUIRE(thaw::run_forward(golden(name), golden(name) / "case" / "in.safetensors", scratch / "out") == 0);
    const at::Tensor output = tensor_of(scratch / "out", "sample");
    const at::Tensor expected = tensor_of(golden(name) / "case" / "expected.safetensors", "sample");
    CATCH_REQUIRE(output.sizes() == expected.sizes());
    CATCH_CHECK(largest(expected) > 0.5);
    // float32 sums in another order; the weights are rounded to half precision before the peer's pass
    CATCH_CHECK(largest(output - expected) <= 1e-5 * largest(expected));
  }
}

CATCH_TEST_CASE("a published network has the tensors of its file, as float32 that can be trained",
                "[images][published]") {
  for (const std::string name : {"unet2d", "dit"}) {
    const auto network = thaw::image::open_published(golden(name));
    const thaw::NamedTensors stored = thaw::load_tensors(golden(name)).tensors;
    CATCH_REQUIRE(network->parameters().all().size() == stored.size());
    for (const auto& [weight, tensor] : network->parameters().all()) {
      CATCH_CAPTURE(weight);
      CATCH_CHECK(tensor.scalar_type() == at::kFloat);
      CATCH_CHECK(tensor.requires_grad());
      CATCH_CHECK(std::any_of(stored.begin(), stored.end(), [&](const auto& one) {
        return one.first == weight && at::equal(one.second.to(at::kFloat), tensor);
      }));
    }
  }
}

CATCH_TEST_CASE("each key of a published configuration is read or refused by name", "[images][published]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& key, const json& value,
                           const std::string& said) {
    CATCH_CAPTURE(name, key, value.dump());
    const std::string message = refusal(changed(scratch.folder(), name, key, value));
    CATCH_CHECK_THAT(message, Catch::Contains(key) && Catch::Contains(said));
    CATCH_CHECK(message.find('\n') == std::string::npos);
  };
  refused("unet2d", "_class_name", "UNet3DConditionModel", "UNet2DModel");
  refused("unet2d", "layers_per_blok", 2, "Did you mean \"layers_per_block\"");
  refused("unet2d", "time_embedding_type", "fourier", "positional");
  refused("unet2d", "class_embed_type", "timestep", "null");
  refused("unet2d", "norm_num_groups", nullptr, "got null");
  refused("unet2d", "norm_num_groups", 3, "do not divide");
  refused("unet2d", "block_out_channels", {8, 1e9}, "65536");
  refused("unet2d", "block_out_channels", {8, 8, 8}, "");
  refused("unet2d", "down_block_types", {"DownBlock2D", "SkipDownBlock2D"}, "SkipDownBlock2D");
  refused("unet2d", "attention_head_dim", 18446744073709551615ull, "integer");
  refused("unet2d", "attention_head_dim", 9, "wider");
  refused("unet2d", "freq_shift", 4, "divides by zero");
  refused("unet2d", "resnet_time_scale_shift", "spatial", "scale_shift");
  refused("unet2d", "dropout_rate", 0.1, "not read");
  refused("dit", "norm_type", "ada_norm", "ada_norm_zero");
  refused("dit", "activation_fn", "geglu", "gelu-approximate");
  refused("dit", "num_embeds_ada_norm", nullptr, "got null");
  refused("dit", "attention_head_dim", 7, "multiple of 4");
  refused("dit", "patch_size", 16, "sample_size");
  refused("dit", "caption_channels", 4096, "not read");
}

CATCH_TEST_CASE("a configuration of another shape than the weights names the tensor", "[images][published]") {
  const Scratch scratch;
  // Taken at its word, each of these would allocate terabytes.
  CATCH_CHECK_THAT(refusal(changed(scratch.folder(), "unet2d", "block_out_channels", {65536, 65536})),
                   Catch::Contains("conv_in.weight"));
  CATCH_CHECK_THAT(refusal(changed(scratch.folder(), "unet2d", "layers_per_block", 64)),
                   Catch::Contains("down_blocks.0.resnets.1.norm1.weight"));
  CATCH_CHECK_THAT(refusal(changed(scratch.folder(), "unet2d", "add_attention", false)),
                   Catch::Contains("mid_block.attentions.0") && Catch::Contains("no place"));
  const Scratch other;
  CATCH_CHECK_THAT(refusal(changed(other.folder(), "dit", "num_attention_heads", 4096)),
                   Catch::Contains("pos_embed.proj.weight"));
}

CATCH_TEST_CASE("a published network refuses inputs that do not fit it", "[images][published]") {
  const auto unet = thaw::image::open_published(golden("unet2d"));
  const auto dit = thaw::image::open_published(golden("dit"));
  const at::Tensor t = at::full({2}, 10.0), label = at::zeros({2}, at::kLong);
  const auto expect = [](const thaw::Backbone& network, const at::Tensor& x, const at::Tensor& noise,
                         const thaw::Condition& condition) {
    CATCH_CHECK_THROWS_AS(network.forward(x, noise, condition), thaw::DataError);
  };
  expect(*unet, at::zeros({2, 4, 8, 8}), t, {{"label", label}});
  expect(*unet, at::zeros({2, 3, 7, 8}), t, {{"label", label}});
  expect(*unet, at::zeros({2, 3, 8, 8}), at::zeros({3}), {{"label", label}});
  expect(*unet, at::zeros({2, 3, 8, 8}), t, {});
  expect(*unet, at::zeros({2, 3, 8, 8}), t, {{"label", label + 5}});
  expect(*dit, at::zeros({2, 4, 8, 4}), t, {{"label", label}});
  expect(*dit, at::zeros({2, 4, 9, 9}), t, {{"label", label}});
  expect(*dit, at::zeros({2, 4, 8, 8}), t, {{"label", label - 1}});
  CATCH_CHECK(dit->forward(at::zeros({2, 4, 8, 8}), t, {{"label", label + 10}}).size(1) == 8);  // the null label
}
