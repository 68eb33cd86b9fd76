// Low-rank changes: names, arithmetic, merging and taking back. The networks of diffusers are compared in
// tests/peers/published_lora.py.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/checkpoint.h"
#include "core/lora.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"

using thaw::Lora;
using thaw::LoraMerge;
using thaw::LoraPart;
using thaw::NamedTensors;
using thaw::testing::Scratch;

namespace {

at::Tensor ramp(at::IntArrayRef shape, double scale) {
  std::int64_t count = 1;
  for (const std::int64_t side : shape) count *= side;
  return ((at::arange(count, at::kFloat) * 0.7).sin() * scale).reshape(shape);
}

// A UNet's names, one of each kind.
NamedTensors weights() {
  return {{"conv_in.weight", ramp({4, 3, 3, 3}, 1)},
          {"down_blocks.0.resnets.0.conv1.weight", ramp({4, 4, 3, 3}, 1)},
          {"down_blocks.0.resnets.1.conv1.weight", ramp({4, 4, 3, 3}, 1)},
          {"down_blocks.0.downsamplers.0.conv.weight", ramp({4, 4, 3, 3}, 1)},
          {"down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight", ramp({6, 4}, 1)},
          {"down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0.weight", ramp({4, 6}, 1)},
          {"up_blocks.0.upsamplers.0.conv.weight", ramp({4, 4, 3, 3}, 1)},
          {"mid_block.resnets.1.time_emb_proj.weight", ramp({4, 8}, 1)},
          {"mid_block.resnets.1.time_emb_proj.bias", ramp({4}, 1)}};
}

Lora loaded(const Scratch& scratch, const NamedTensors& tensors, LoraPart part = LoraPart::kDenoiser,
            const std::map<std::string, std::string>& metadata = {}) {
  thaw::save_tensors(scratch / "lora.safetensors", tensors, metadata);
  return thaw::load_lora(scratch / "lora.safetensors", weights(), part);
}

NamedTensors linear(const std::string& down, const std::string& up) {
  return {{down, ramp({2, 4}, 1)}, {up, ramp({6, 2}, 2)}};
}

std::string refusal(const Scratch& scratch, const NamedTensors& tensors, LoraPart part = LoraPart::kDenoiser,
                    const std::map<std::string, std::string>& metadata = {}) {
  try {
    loaded(scratch, tensors, part, metadata);
  } catch (const thaw::DataError& error) {
    return error.what();
  }
  return "accepted";
}

const std::string kQuery = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q";

}  // namespace

CATCH_TEST_CASE("every naming of a layer finds its weight", "[core][lora]") {
  const Scratch scratch;
  const auto found = [&](const std::string& down, const std::string& up) {
    CATCH_CAPTURE(down);
    const Lora lora = loaded(scratch, linear(down, up));
    CATCH_REQUIRE(lora.layers.size() == 1);
    CATCH_CHECK(lora.layers[0].weight == kQuery + ".weight");
    CATCH_CHECK(lora.layers[0].factor == 1.0);
  };
  for (const std::string prefix : {"", "unet.", "transformer.", "base_model.model.", "diffusion_model."})
    found(prefix + kQuery + ".lora_A.weight", prefix + kQuery + ".lora_B.weight");
  found(kQuery + ".lora_A.default.weight", kQuery + ".lora_B.default.weight");
  found("unet." + kQuery + ".lora.down.weight", "unet." + kQuery + ".lora.up.weight");
  const std::string processor = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora";
  found(processor + ".down.weight", processor + ".up.weight");
  const std::string kohya = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q";
  found(kohya + ".lora_down.weight", kohya + ".lora_up.weight");
  // two resnets a level: block 4 is the first of level 1
  const std::string original = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q";
  found(original + ".lora_down.weight", original + ".lora_up.weight");
}

CATCH_TEST_CASE("names of the original code find convolutions, embeddings and resampling", "[core][lora]") {
  const Scratch scratch;
  for (const auto& [name, weight] :
       std::map<std::string, std::string>{{"input_blocks_0_0", "conv_in"},
                                          {"input_blocks_2_0_in_layers_2", "down_blocks.0.resnets.1.conv1"},
                                          {"input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"},
                                          {"output_blocks_2_2_conv", "up_blocks.0.upsamplers.0.conv"},
                                          {"output_blocks_2_1_conv", "up_blocks.0.upsamplers.0.conv"},
                                          {"middle_block_2_emb_layers_1", "mid_block.resnets.1.time_emb_proj"}}) {
    CATCH_CAPTURE(name);
    at::Tensor target;
    for (const auto& [known, tensor] : weights())
      if (known == weight + ".weight") target = tensor;
    std::vector<std::int64_t> down = target.sizes().vec(), up(down.size(), 1);
    up[0] = down[0];
    down[0] = up[1] = 2;
    const Lora lora = loaded(scratch, {{"lora_unet_" + name + ".lora_down.weight", ramp(down, 1)},
                                       {"lora_unet_" + name + ".lora_up.weight", ramp(up, 1)},
                                       {"lora_unet_" + name + ".alpha", at::tensor(3.0)}});
    CATCH_REQUIRE(lora.layers.size() == 1);
    CATCH_CHECK(lora.layers[0].weight == weight + ".weight");
    CATCH_CHECK(lora.layers[0].factor == 1.5);
  }
}

CATCH_TEST_CASE("alpha comes from the layer, else from the metadata, else is the rank", "[core][lora]") {
  const Scratch scratch;
  const NamedTensors pair = linear(kQuery + ".lora_A.weight", kQuery + ".lora_B.weight");
  const auto factor = [&](const std::string& metadata) {
    return loaded(scratch, pair, LoraPart::kDenoiser, {{"lora_adapter_metadata", metadata}}).layers.at(0).factor;
  };
  CATCH_CHECK(factor("{}") == 1.0);
  CATCH_CHECK(factor(R"({"lora_alpha": 8, "r": 2})") == 4.0);
  CATCH_CHECK(factor(R"({"unet.lora_alpha": 8})") == 4.0);
  CATCH_CHECK(factor(R"({"text_encoder.lora_alpha": 8})") == 1.0);
  CATCH_CHECK(factor(R"({"lora_alpha": 8, "use_rslora": true})") == Approx(8 / std::sqrt(2.0)));
  const auto said = [&](const std::string& metadata) {
    return refusal(scratch, pair, LoraPart::kDenoiser, {{"lora_adapter_metadata", metadata}});
  };
  CATCH_CHECK_THAT(said(R"({"alpha_pattern": {"to_q": 4}})"), Catch::Contains("alpha_pattern"));
  CATCH_CHECK_THAT(said(R"({"use_dora": true})"), Catch::Contains("DoRA"));
  CATCH_CHECK_THAT(said("{"), Catch::Contains("lora_adapter_metadata"));
}

CATCH_TEST_CASE("merging adds the product, scales add, and nothing is left behind", "[core][lora]") {
  const Scratch scratch;
  const Lora query = loaded(scratch, linear(kQuery + ".lora_A.weight", kQuery + ".lora_B.weight"));
  const Lora conv = loaded(
      scratch, {{"conv_in.lora_A.weight", ramp({2, 3, 3, 3}, 1)}, {"conv_in.lora_B.weight", ramp({4, 2, 1, 1}, 1)}});
  const NamedTensors target = weights(), before = weights();
  const auto at_name = [](const NamedTensors& tensors, const std::string& name) {
    for (const auto& [known, tensor] : tensors)
      if (known == name) return tensor;
    return at::Tensor();
  };
  LoraMerge merge(target);
  const at::Tensor q = at_name(target, kQuery + ".weight"), q0 = at_name(before, kQuery + ".weight");
  const at::Tensor product = at::matmul(ramp({6, 2}, 2), ramp({2, 4}, 1));
  merge.set({{query, 0.5}, {conv, 1.0}, {query, 0.25}});
  CATCH_CHECK(at::allclose(q, q0 + 0.75 * product, 1e-6, 1e-6));
  CATCH_CHECK_FALSE(at::allclose(q, q0, 1e-2, 1e-2));
  // A convolution by the low-rank kernel is the two convolutions in turn.
  const at::Tensor x = ramp({1, 3, 5, 5}, 1);
  const at::Tensor both = at::conv2d(at::conv2d(x, ramp({2, 3, 3, 3}, 1)), ramp({4, 2, 1, 1}, 1));
  const at::Tensor kernel = at_name(target, "conv_in.weight") - at_name(before, "conv_in.weight");
  CATCH_CHECK(at::allclose(at::conv2d(x, kernel), both, 1e-4, 1e-5));
  merge.set({{query, -2.0}});
  CATCH_CHECK(at::allclose(q, q0 - 2.0 * product, 1e-6, 1e-6));
  CATCH_CHECK(at::equal(at_name(target, "conv_in.weight"), at_name(before, "conv_in.weight")));
  merge.set({});
  for (std::size_t i = 0; i < target.size(); ++i) CATCH_CHECK(at::equal(target[i].second, before[i].second));
}

CATCH_TEST_CASE("half weights keep the sum of changes that are each below their last bit", "[core][lora]") {
  const Scratch scratch;
  const NamedTensors ones{{kQuery + ".lora_A.weight", at::ones({1, 4})}, {kQuery + ".lora_B.weight", at::ones({6, 1})}};
  const Lora lora = loaded(scratch, ones);
  const NamedTensors target{{kQuery + ".weight", at::ones({6, 4}, at::kHalf)}};
  LoraMerge merge(target);
  merge.set({{lora, 4e-4}, {lora, 4e-4}, {lora, 4e-4}});  // the spacing of float16 above 1 is 9.8e-4
  CATCH_CHECK(at::equal(target[0].second, at::full({6, 4}, 1.0 + 1.0 / 1024, at::kHalf)));
}

CATCH_TEST_CASE("a file of adapters that do not fit is refused by the name of the layer", "[core][lora]") {
  const Scratch scratch;
  const std::string a = kQuery + ".lora_A.weight", b = kQuery + ".lora_B.weight";
  const auto said = [&](const NamedTensors& tensors, const std::string& part) {
    CATCH_CHECK_THAT(refusal(scratch, tensors), Catch::Contains(part));
  };
  said({{a, ramp({2, 4}, 1)}}, "has no up matrix");
  said({{b, ramp({6, 2}, 1)}}, "has no down matrix");
  said({{a, ramp({2, 5}, 1)}, {b, ramp({6, 2}, 1)}}, "does not make");
  said({{a, ramp({3, 4}, 1)}, {b, ramp({6, 2}, 1)}}, "does not make");
  said({{a, ramp({4}, 1)}, {b, ramp({6, 1}, 1)}}, "does not make");
  said({{a, ramp({2, 4}, 1)}, {b, at::ones({6, 2}, at::kLong)}}, "floating-point");
  said(linear("up_blocks.9.conv.lora_A.weight", "up_blocks.9.conv.lora_B.weight"), "up_blocks.9.conv");
  said({{a, ramp({2, 4}, 1)}, {b, ramp({6, 2}, 1)}, {kQuery + ".lora_magnitude_vector", ramp({6}, 1)}},
       "lora_magnitude_vector");
  said({{"lora_unet_x.hada_w1_a", ramp({2, 2}, 1)}}, "hada_w1_a");
  said({{"lora_unet_x.alpha", ramp({2}, 1)}}, "one number");
  said(linear("lora_te_a.lora_down.weight", "lora_te_a.lora_up.weight"), "no layer for this network");
}

CATCH_TEST_CASE("a file for several networks gives each its own layers", "[core][lora]") {
  const Scratch scratch;
  NamedTensors tensors = linear("unet." + kQuery + ".lora_A.weight", "unet." + kQuery + ".lora_B.weight");
  for (const auto& [name, tensor] : linear("text_encoder.mid_block.resnets.1.time_emb_proj.lora_A.weight",
                                           "text_encoder.mid_block.resnets.1.time_emb_proj.lora_B.weight"))
    tensors.emplace_back(name, tensor.size(0) == 2 ? ramp({2, 8}, 1) : ramp({4, 2}, 1));
  CATCH_CHECK(loaded(scratch, tensors).layers.at(0).weight == kQuery + ".weight");
  CATCH_CHECK(loaded(scratch, tensors, LoraPart::kTextEncoder).layers.at(0).weight ==
              "mid_block.resnets.1.time_emb_proj.weight");
  CATCH_CHECK_THROWS_AS(loaded(scratch, tensors, LoraPart::kTextEncoder2), thaw::DataError);
}
