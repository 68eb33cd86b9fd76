// Published networks of clips against goldens of diffusers, written by tests/peers/published_clips.py --golden.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "experiments/forward.h"
#include "experiments/published_networks.h"
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

const std::vector<std::string> kNetworks{"latte", "wan", "wan_image"};

PublishedNetwork opened(const fs::path& folder, WeightType type = at::kFloat) {
  return open_published(folder, published_denoisers(), type);
}

std::string refusal(const fs::path& folder) {
  try {
    opened(folder);
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

/// The tensors of the golden's case as the network is told them.
struct Case {
  PublishedNetwork network;
  at::Tensor x, noise;
  Condition condition;

  explicit Case(const std::string& name, WeightType type = at::kFloat) : network(opened(golden(name), type)) {
    const fs::path in = golden(name) / "case" / "in.safetensors";
    x = tensor_of(in, "hidden_states");
    noise = tensor_of(in, "timestep").to(at::kFloat);
    for (const auto& [key, tensor] : load_tensors(in).tensors)
      for (const PublishedArgument& argument : network.arguments)
        if (argument.name == key) condition[argument.condition] = tensor;
  }
  at::Tensor operator()() const { return network.backbone->forward(x, noise, condition); }
  std::string refused() const {
    try {
      (*this)();
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  }
  Case with(const std::string& key, const at::Tensor& tensor) && {
    condition[key] = tensor;
    return std::move(*this);
  }
};

}  // namespace

CATCH_TEST_CASE("a published network of clips gives what diffusers gives", "[video][published][golden]") {
  for (const std::string& name : kNetworks) {
    CATCH_CAPTURE(name);
    const Scratch scratch;
    CATCH_REQUIRE(run_forward(golden(name), golden(name) / "case" / "in.safetensors", scratch / "out") == 0);
    const at::Tensor output = tensor_of(scratch / "out", "sample");
    const at::Tensor expected = tensor_of(golden(name) / "case" / "expected.safetensors", "sample");
    CATCH_REQUIRE(output.sizes() == expected.sizes());
    CATCH_CHECK(largest(expected) > 0.5);
    // float32 sums in another order; the weights are rounded to half precision before the peer's pass
    CATCH_CHECK(largest(output - expected) <= 1e-5 * largest(expected));
  }
}

CATCH_TEST_CASE("each key of a published configuration of clips is read or refused by name", "[video][published]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& key, const json& value,
                           const std::string& said) {
    CATCH_CAPTURE(name, key, value.dump());
    const std::string message = refusal(changed(scratch.folder(), name, key, value));
    CATCH_CHECK_THAT(message, Catch::Contains(key) && Catch::Contains(said));
    CATCH_CHECK(message.find('\n') == std::string::npos);
  };
  refused("latte", "_class_name", "CogVideoXTransformer3DModel", "LatteTransformer3DModel");
  refused("latte", "video_lenght", 4, "Did you mean \"video_length\"");
  refused("latte", "norm_type", "layer_norm", "ada_norm_single");
  refused("latte", "activation_fn", "swiglu", "geglu");
  refused("latte", "patch_size", nullptr, "got none");
  refused("latte", "caption_channels", nullptr, "got none");
  refused("latte", "cross_attention_dim", 21, "expected 20");
  refused("latte", "attention_head_dim", 3, "multiple of 4");
  refused("latte", "patch_size", 16, "sample_size");
  refused("wan", "qk_norm", nullptr, "rms_norm_across_heads");
  refused("wan", "patch_size", {1, 2}, "three numbers");
  refused("wan", "attention_head_dim", 13, "even");
  refused("wan", "added_kv_proj_dim", 28, "image_dim");
  refused("wan", "window_size", {-1, -1}, "not read");
  refused("wan_image", "added_kv_proj_dim", 13, "expected 12");
  refused("wan_image", "pos_embed_seq_len", 9, "even");
}

CATCH_TEST_CASE("a configuration of clips beyond its weights names the tensor and both shapes", "[video][published]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& key, const json& value,
                           const std::string& tensor) {
    CATCH_CAPTURE(name, key);
    CATCH_CHECK_THAT(refusal(changed(scratch.folder(), name, key, value)), Catch::Contains(tensor));
  };
  // Taken at its word, each of these would allocate gigabytes.
  refused("latte", "num_layers", 1024, "transformer_blocks.2.scale_shift_table");
  refused("latte", "caption_channels", 65536,
          "\"caption_projection.linear_1.weight\" has shape [20, 10], config.json asks for [20, 65536]");
  refused("wan", "ffn_dim", 1 << 20,
          "\"blocks.0.ffn.net.0.proj.weight\" has shape [40, 28], config.json asks for [1048576, 28]");
  refused("wan", "cross_attn_norm", false, "\"blocks.0.norm2.bias\" has no place");
  refused("wan_image", "pos_embed_seq_len", 1 << 20, "condition_embedder.image_embedder.pos_embed");
  refused("wan_image", "added_kv_proj_dim", nullptr, "no place");
}

CATCH_TEST_CASE("a published network of clips names what does not fit it, with both shapes", "[video][published]") {
  const c10::NoGradGuard no_grad;
  const auto input = [](const std::string& name, const at::Tensor& x) {
    Case one(name);
    one.x = x;
    return one.refused();
  };
  const auto told = [](const std::string& name, const std::string& key, const at::Tensor& tensor) {
    return Case(name).with(key, tensor).refused();
  };
  CATCH_CHECK_THAT(input("latte", at::zeros({2, 4, 3, 8, 4})), Catch::Contains("1 frame or video_length 4, got 3"));
  CATCH_CHECK_THAT(input("latte", at::zeros({2, 4, 4, 9, 4})), Catch::Contains("patch_size 2, got 9 x 4"));
  CATCH_CHECK_THAT(input("latte", at::zeros({2, 4, 8, 4})), Catch::Contains("[N, 4, T, H, W], got [2, 4, 8, 4]"));
  CATCH_CHECK_THAT(told("latte", "text", at::zeros({2, 5, 11})), Catch::Contains("[2, -1, 10], got [2, 5, 11]"));
  CATCH_CHECK_THAT(told("latte", "temporal", at::full({}, 2)), Catch::Contains("0 or 1, got 2"));
  CATCH_CHECK_THAT(input("wan", at::zeros({2, 5, 3, 4, 6})), Catch::Contains("got [2, 5, 3, 4, 6]"));
  CATCH_CHECK_THAT(input("wan", at::zeros({2, 4, 3, 5, 6})), Catch::Contains("patch_size [1, 2, 2]"));
  CATCH_CHECK_THAT(input("wan", at::zeros({2, 4, 2, 4, 6})), Catch::Contains("expected [2] or [2, 12], got [2, 18]"));
  CATCH_CHECK_THAT(told("wan", "image", at::zeros({2, 5, 9})), Catch::Contains("no image_dim"));
  CATCH_CHECK_THAT(told("wan_image", "image", {}), Catch::Contains("\"image\": is missing; expected [4, 5, 9]"));
  CATCH_CHECK_THAT(told("wan_image", "text", at::zeros({2, 5, 6})), Catch::Contains("[2, 512, 6], got [2, 5, 6]"));
}

CATCH_TEST_CASE("equal times of all patches are the time of the clip", "[video][published]") {
  const c10::NoGradGuard no_grad;
  Case one("wan");
  const std::int64_t patches = one.noise.size(1);
  one.noise = at::tensor({3.0f, 871.0f});
  const at::Tensor together = one();
  one.noise = one.noise.unsqueeze(1).expand({-1, patches}).contiguous();
  // the same sums; matrix products of other sizes round differently
  CATCH_CHECK(largest(one() - together) <= 1e-5 * largest(together));
  one.noise[0][patches - 1] = 900.0;
  CATCH_CHECK(largest(one() - together) > 1e-3 * largest(together));
}

CATCH_TEST_CASE("frames are networks of their own where time is left out", "[video][published]") {
  const c10::NoGradGuard no_grad;
  Case one("latte");
  const at::Tensor with_time = one();
  one.condition["temporal"] = at::zeros({}, at::kLong);
  const at::Tensor clip = one();
  CATCH_CHECK(largest(clip - with_time) > 1e-2 * largest(with_time));
  const at::Tensor x = one.x;
  for (std::int64_t t = 0; t < x.size(2); ++t) {
    one.x = x.narrow(2, t, 1);
    CATCH_CHECK(largest(one() - clip.narrow(2, t, 1)) <= 1e-5 * largest(clip));
  }
}

CATCH_TEST_CASE("a published network of clips computes in the type of its weights", "[video][published]") {
  const c10::NoGradGuard no_grad;
  for (const std::string& name : kNetworks) {
    CATCH_CAPTURE(name);
    const at::Tensor wide = Case(name)(), brain = Case(name, at::kBFloat16)();
    CATCH_CHECK(brain.scalar_type() == at::kFloat);
    const double gap = largest(brain - wide) / largest(wide);
    CATCH_CHECK(gap > 0.0);
    CATCH_CHECK(gap < 0.1);  // 8 bits a number
  }
}
