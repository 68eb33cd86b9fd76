// Conditioned networks, ControlNets and autoencoders against goldens of diffusers, written by
// tests/peers/published_conditioned.py --golden.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

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

const std::vector<std::string> kDenoisers{"unet2d_condition", "pixart", "sd3", "flux"};

std::string refusal(const fs::path& folder) {
  try {
    switch (thaw::image::published_kind(folder)) {
      case thaw::image::PublishedKind::kDenoiser:
        thaw::image::open_published(folder);
        break;
      case thaw::image::PublishedKind::kAutoencoder:
        thaw::image::open_published_autoencoder(folder);
        break;
      case thaw::image::PublishedKind::kControlNet:
        thaw::image::open_published_controlnet(folder);
        break;
    }
  } catch (const thaw::DataError& error) {
    return error.what();
  }
  return "accepted";
}

double relative(const at::Tensor& value, const at::Tensor& expected) {
  CATCH_REQUIRE(value.sizes() == expected.sizes());
  return largest(value - expected) / largest(expected);
}

}  // namespace

CATCH_TEST_CASE("conditioned networks, ControlNets and autoencoders give what diffusers gives",
                "[images][published][golden]") {
  const Scratch scratch;
  for (const std::string name :
       {"unet2d_condition", "controlnet", "autoencoder_kl", "autoencoder_tiny", "pixart", "sd3", "flux"}) {
    CATCH_CAPTURE(name);
    thaw::run_forward(golden(name), golden(name) / "case" / "in.safetensors", scratch / "out.safetensors");
    const thaw::NamedTensors output = thaw::load_tensors(scratch / "out.safetensors").tensors;
    CATCH_CHECK(output.size() >= (name == "controlnet" ? 4u : 1u));
    for (const auto& [key, value] : output) {
      CATCH_CAPTURE(key);
      const at::Tensor expected = tensor_of(golden(name) / "case" / "expected.safetensors", key);
      CATCH_CHECK(largest(expected) > 0.1);
      // float32 sums in another order; the weights are rounded to half precision before the peer's pass
      CATCH_CHECK(relative(value, expected) <= 1e-5);
    }
  }
}

CATCH_TEST_CASE("each key of a conditioned configuration is read or refused by name", "[images][published]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& key, const json& value,
                           const std::string& said) {
    CATCH_CAPTURE(name, key, value.dump());
    const std::string message = refusal(changed(scratch.folder(), name, key, value));
    CATCH_CHECK_THAT(message, Catch::Contains(key) && Catch::Contains(said));
    CATCH_CHECK(message.find('\n') == std::string::npos);
  };
  refused("unet2d_condition", "_class_name", "UNet3DConditionModel", "FluxTransformer2DModel");
  refused("unet2d_condition", "cross_atention_dim", 7, "Did you mean \"cross_attention_dim\"");
  refused("unet2d_condition", "attention_head_dim", {2, 3}, "do not divide");
  refused("unet2d_condition", "attention_head_dim", {2, 4, 8}, "one number or 2");
  refused("unet2d_condition", "num_attention_heads", 4, "null");
  refused("unet2d_condition", "transformer_layers_per_block", {1, {1, 1, 1}}, "level 1");
  refused("unet2d_condition", "transformer_layers_per_block", {1, json::array()}, "got");
  refused("unet2d_condition", "down_block_types", {"DownBlock2D", "KDownBlock2D"}, "KDownBlock2D");
  refused("unet2d_condition", "addition_embed_type", "image", "text_time");
  refused("unet2d_condition", "addition_time_embed_dim", nullptr, "");
  refused("unet2d_condition", "encoder_hid_dim_type", "image_proj", "text_proj");
  refused("unet2d_condition", "class_embeddings_concat", true, "only false");
  refused("unet2d_condition", "only_cross_attention", {true, 1}, "true and false");
  refused("unet2d_condition", "conv_in_kernel", 4, "odd");
  refused("controlnet", "mid_block_type", nullptr, "UNetMidBlock2D");
  refused("controlnet", "controlnet_conditioning_channel_order", "gbr", "bgr");
  refused("controlnet", "up_block_types", json::array(), "not read");
  refused("autoencoder_kl", "down_block_types", {"DownEncoderBlock2D", "AttnDownEncoderBlock2D"}, "DownEncoderBlock2D");
  refused("autoencoder_kl", "scaling_factor", 0, "number");
  refused("autoencoder_kl", "latents_mean", {1.0}, "expected 4 numbers");
  refused("autoencoder_tiny", "upsampling_scaling_factor", 3, "stride");
  refused("autoencoder_tiny", "decoder_block_out_channels", {8, 8, 16}, "equal widths");
  refused("pixart", "norm_type", "ada_norm_zero", "ada_norm_single");
  refused("pixart", "cross_attention_dim", nullptr, "null");
  refused("sd3", "qk_norm", "layer_norm", "rms_norm");
  refused("sd3", "caption_projection_dim", 25, "width of the network");
  refused("flux", "axes_dims_rope", {2, 2, 2}, "attention_head_dim 8");
  refused("flux", "patch_size", 2, "only 1");
  refused("flux", "sample_size", 64, "not read");
}

CATCH_TEST_CASE("a conditioned configuration beyond its weights names the tensor and allocates nothing",
                "[images][published]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& key, const json& value,
                           const std::string& tensor) {
    CATCH_CAPTURE(name, key);
    CATCH_CHECK_THAT(refusal(changed(scratch.folder(), name, key, value)), Catch::Contains(tensor));
  };
  refused("unet2d_condition", "cross_attention_dim", 65536, "attn2.to_k.weight");
  refused("unet2d_condition", "transformer_layers_per_block", {1, 64}, "transformer_blocks.2");
  refused("unet2d_condition", "time_cond_proj_dim", 65536, "time_embedding.cond_proj.weight");
  refused("controlnet", "conditioning_embedding_out_channels", {65536, 65536}, "controlnet_cond_embedding");
  refused("autoencoder_kl", "use_quant_conv", false, "quant_conv");
  refused("autoencoder_kl", "latent_channels", 65536, "encoder.conv_out.weight");
  refused("autoencoder_tiny", "num_encoder_blocks", {1, 64, 1}, "encoder.layers");
  refused("pixart", "num_layers", 1024, "transformer_blocks.1");
  refused("sd3", "pos_embed_max_size", 16384, "pos_embed.pos_embed");
  refused("flux", "num_single_layers", 1024, "single_transformer_blocks.1");
  refused("flux", "guidance_embeds", false, "no place");
}

CATCH_TEST_CASE("a conditioned network names the condition that is missing or does not fit", "[images][published]") {
  for (const std::string& name : kDenoisers) {
    const thaw::image::PublishedNetwork network = thaw::image::open_published_network(golden(name));
    const fs::path in = golden(name) / "case" / "in.safetensors";
    const at::Tensor x = tensor_of(in, network.input_name), t = tensor_of(in, "timestep").to(at::kFloat);
    thaw::Condition whole;
    for (const auto& [argument, condition] : network.arguments)
      for (const auto& [known, tensor] : thaw::load_tensors(in).tensors)
        if (known == argument) whole[condition] = tensor;
    CATCH_CHECK(network.backbone->forward(x, t, whole).sizes() ==
                at::IntArrayRef({x.size(0), (network.learns_variance ? 2 : 1) * x.size(1), x.size(2), x.size(3)}));
    CATCH_CHECK(whole.size() >= 2);
    for (const auto& [condition, tensor] : whole) {
      CATCH_CAPTURE(name, condition);
      thaw::Condition other = whole;
      other[condition] = at::cat({tensor, tensor}, -1);
      CATCH_CHECK_THROWS_WITH(network.backbone->forward(x, t, other), Catch::Contains(condition));
      other.erase(condition);
      if (condition != "text_mask" && !condition.ends_with("residual"))
        CATCH_CHECK_THROWS_WITH(network.backbone->forward(x, t, other), Catch::Contains(condition));
    }
  }
}

CATCH_TEST_CASE("a masked token changes nothing", "[images][published]") {
  const auto network = thaw::image::open_published(golden("pixart"));
  const fs::path in = golden("pixart") / "case" / "in.safetensors";
  const at::Tensor x = tensor_of(in, "hidden_states"), t = tensor_of(in, "timestep").to(at::kFloat),
                   mask = tensor_of(in, "encoder_attention_mask"), text = tensor_of(in, "encoder_hidden_states");
  const at::Tensor output = network->forward(x, t, {{"text", text}, {"text_mask", mask}});
  const at::Tensor noisy = text + 3 * (1 - mask).unsqueeze(2);
  // exp(-10000) is 0 in float32
  CATCH_CHECK(at::equal(network->forward(x, t, {{"text", noisy}, {"text_mask", mask}}), output));
  CATCH_CHECK(largest(network->forward(x, t, {{"text", noisy}}) - output) > 1e-3);
}

CATCH_TEST_CASE("a network with a ControlNet is the network told its residuals", "[images][published]") {
  const auto unet = thaw::image::open_published(golden("unet2d_condition"));
  const std::shared_ptr<thaw::image::ControlNet> control = thaw::image::open_published_controlnet(golden("controlnet"));
  const fs::path in = golden("controlnet") / "case" / "in.safetensors";
  const at::Tensor x = tensor_of(in, "sample"), t = tensor_of(in, "timestep").to(at::kFloat);
  thaw::Condition condition{{"text", tensor_of(in, "encoder_hidden_states")},
                            {"control", tensor_of(in, "controlnet_cond")},
                            {"pooled", at::ones({2, 10})},
                            {"time_ids", at::full({2, 6}, 64.0)}};
  const thaw::Condition once = control->residuals(x, t, condition, 1.0),
                        third = control->residuals(x, t, condition, 0.5);
  CATCH_CHECK(once.size() == 5);
  CATCH_CHECK(largest(once.at("middle_residual") - 2 * third.at("middle_residual")) == 0.0);
  thaw::Condition told = condition;
  for (const auto& [name, residual] : once) told[name] = 1.5 * residual;
  const at::Tensor expected = unet->forward(x, t, told);
  CATCH_CHECK(largest(expected - unet->forward(x, t, condition)) > 1e-2);
  condition["control.1"] = condition["control"];
  const auto both = thaw::image::with_control(thaw::image::open_published(golden("unet2d_condition")),
                                              {{control, 1.0}, {control, 0.5}});
  CATCH_CHECK(relative(both->forward(x, t, condition), expected) <= 1e-5);
  condition.erase("control.1");
  CATCH_CHECK_THROWS_AS(both->forward(x, t, condition), thaw::DataError);
}

CATCH_TEST_CASE("weights keep the type that is asked for, and inputs follow", "[images][published]") {
  for (const std::string& name : kDenoisers) {
    CATCH_CAPTURE(name);
    const fs::path in = golden(name) / "case" / "in.safetensors";
    const thaw::image::PublishedNetwork stored = thaw::image::open_published_network(golden(name), std::nullopt);
    const thaw::image::PublishedNetwork brain = thaw::image::open_published_network(golden(name), at::kBFloat16);
    for (const auto& [key, tensor] : stored.backbone->parameters().all())
      CATCH_CHECK(tensor.scalar_type() == at::kHalf);
    thaw::Condition condition;
    for (const auto& [argument, wanted] : brain.arguments)
      for (const auto& [known, tensor] : thaw::load_tensors(in).tensors)
        if (known == argument && !wanted.ends_with("residual")) condition[wanted] = tensor;
    const at::Tensor x = tensor_of(in, brain.input_name);
    const at::Tensor t = tensor_of(in, "timestep").to(at::kFloat) * brain.timestep_scale;
    const c10::NoGradGuard no_gradient;
    const at::Tensor wide = thaw::image::open_published(golden(name))->forward(x, t, condition);
    const at::Tensor output = brain.backbone->forward(x, t, condition);
    CATCH_CHECK(output.scalar_type() == at::kFloat);
    CATCH_CHECK(relative(output, wide) <= 0.05);  // 8 bits of mantissa over a few layers
    CATCH_CHECK(relative(output, wide) >= 1e-5);
  }
}

CATCH_TEST_CASE("a LoRA file changes a pass as changed weights do, and scale 0 changes nothing",
                "[images][published][lora]") {
  const Scratch scratch;
  const fs::path in = golden("flux") / "case" / "in.safetensors", out = scratch / "out.safetensors";
  const std::string layer = "transformer_blocks.0.attn.to_q";
  const at::Tensor down = at::ones({1, 16}) * 0.1, up = at::sin(at::arange(16, at::kFloat)).reshape({16, 1});
  thaw::save_tensors(scratch / "lora.safetensors", {{"transformer." + layer + ".lora_A.weight", down},
                                                    {"transformer." + layer + ".lora_B.weight", up}});
  fs::create_directory(scratch / "changed");
  fs::copy_file(golden("flux") / "config.json", scratch / "changed" / "config.json");
  thaw::NamedTensors weights = thaw::load_tensors(golden("flux")).tensors;
  for (auto& [name, tensor] : weights)
    if (name == layer + ".weight") tensor = tensor.to(at::kFloat) + 2.0 * at::matmul(up, down);
  thaw::save_tensors(scratch / "changed" / "model.safetensors", weights);
  const auto pass = [&](const fs::path& folder, const thaw::ForwardLora& lora) {
    thaw::run_forward(folder, in, out, lora);
    return tensor_of(out, "sample").clone();
  };
  const at::Tensor plain = pass(golden("flux"), {}), expected = pass(scratch / "changed", {});
  CATCH_CHECK(relative(plain, expected) > 1e-3);
  CATCH_CHECK(relative(pass(golden("flux"), {scratch / "lora.safetensors", 2.0}), expected) <= 1e-6);
  CATCH_CHECK(at::equal(pass(golden("flux"), {scratch / "lora.safetensors", 0.0}), plain));
  CATCH_CHECK_THROWS_AS(thaw::run_forward(golden("autoencoder_kl"), in, out, {scratch / "lora.safetensors"}),
                        thaw::ConfigError);
}
