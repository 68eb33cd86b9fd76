#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <limits>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint.h"
#include "core/math/philox.h"
#include "core/nn/dit.h"
#include "core/nn/unet2d.h"
#include "core/optimizer.h"
#include "tests/catch.h"

using namespace thaw;
namespace fs = std::filesystem;

namespace {

fs::path fresh_folder(const std::string& name) {
  const fs::path folder = fs::temp_directory_path() / ("thaw_" + name + std::to_string(::getpid()));
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

}  // namespace

CATCH_TEST_CASE("AdamW takes the step its paper writes", "[core][optimizer]") {
  // Loshchilov and Hutter 2019, alg. 2, first step by hand: m^ = g, v^ = g^2, so the step is sign(g) and the decay.
  Parameters parameters(1);
  at::Tensor weight = parameters.add("w", {1, 2}, Init::ones());
  at::Tensor bias = parameters.add("b", {1}, Init::ones());
  OptimizerOptions options;
  options.weight_decay = 0.1;
  options.epsilon = 0;
  AdamW optimizer(parameters.all(), options);
  (weight * at::tensor({2.0f, -3.0f})).sum().add(bias.sum() * 5).backward();
  optimizer.step(0.01, 1, at::zeros({}));
  CATCH_CHECK(weight[0][0].item<double>() == Catch::Approx(1 * (1 - 0.01 * 0.1) - 0.01).margin(1e-6));
  CATCH_CHECK(weight[0][1].item<double>() == Catch::Approx(1 * (1 - 0.01 * 0.1) + 0.01).margin(1e-6));
  CATCH_CHECK(bias[0].item<double>() == Catch::Approx(1 - 0.01).margin(1e-6));  // one dimension: no decay
}

CATCH_TEST_CASE("a void step changes neither weights nor moments", "[core][optimizer]") {
  Parameters parameters(1);
  at::Tensor weight = parameters.add("w", {2, 2}, Init::ones()), bias = parameters.add("b", {2}, Init::ones());
  AdamW optimizer(parameters.all(), {});
  (weight.sum() + bias.sum() * std::numeric_limits<float>::quiet_NaN()).backward();
  optimizer.clip_gradients();  // the gradients are now all NaN
  optimizer.step(0.1, 1, at::ones({}));
  CATCH_CHECK(at::equal(weight.detach(), at::ones({2, 2})));
  CATCH_CHECK(at::equal(bias.detach(), at::ones({2})));
  for (const auto& [name, moment] : optimizer.state()) CATCH_CHECK(at::equal(moment, at::zeros_like(moment)));
}

CATCH_TEST_CASE("gradients are clipped to the norm asked for", "[core][optimizer]") {
  Parameters parameters(1);
  at::Tensor weight = parameters.add("w", {2}, Init::ones());
  AdamW optimizer(parameters.all(), {});
  (weight * at::tensor({3.0f, 4.0f})).sum().backward();
  CATCH_CHECK(optimizer.clip_gradients().item<double>() == Catch::Approx(5.0));
  CATCH_CHECK(weight.grad().norm().item<double>() == Catch::Approx(1.0).margin(1e-6));
}

CATCH_TEST_CASE("the learning rate warms up, then falls to nothing", "[core][optimizer]") {
  OptimizerOptions options;
  options.learning_rate = 1.0;
  options.warmup = 10;
  CATCH_CHECK(learning_rate_at(options, 0, 110) == Catch::Approx(0.1));
  CATCH_CHECK(learning_rate_at(options, 9, 110) == Catch::Approx(1.0));
  CATCH_CHECK(learning_rate_at(options, 60, 110) == Catch::Approx(0.5));
  CATCH_CHECK(learning_rate_at(options, 110, 110) == Catch::Approx(0.0).margin(1e-12));
}

CATCH_TEST_CASE("weights are a function of seed and name alone", "[core][nn]") {
  Parameters a(7), b(7), c(8);
  const at::Tensor first = a.add("x", {16}, Init::normal(1)), other = b.add("y", {16}, Init::normal(1));
  CATCH_CHECK(at::equal(first, b.add("x", {16}, Init::normal(1))));
  CATCH_CHECK_FALSE(at::equal(first, other));
  CATCH_CHECK_FALSE(at::equal(first, c.add("x", {16}, Init::normal(1))));
}

CATCH_TEST_CASE("networks start at the output 0 and every weight gets a gradient once they have left it",
                "[core][nn]") {
  const at::Tensor x = at::linspace(-1, 1, 2 * 64).reshape({2, 1, 8, 8}), noise = at::tensor({10.0f, 900.0f});
  const at::Tensor label = at::tensor({1, 3}, at::kLong);
  const auto check = [&](auto& network, Parameters& parameters) {
    CATCH_CHECK(
        network(x, {noise, label, noise * 0.5, at::full_like(noise, 2.0)}).abs().max().template item<double>() == 0.0);
    for (const auto& [name, weight] : parameters.all())
      if (weight.requires_grad()) {
        at::Tensor values = weight.detach();
        values.add_(0.05);
      }
    network(x, {noise, label, noise * 0.5, at::full_like(noise, 2.0)}).square().sum().backward();
    for (const auto& [name, weight] : parameters.all()) {
      CATCH_CAPTURE(name);
      if (weight.requires_grad()) CATCH_CHECK(weight.grad().abs().sum().template item<double>() > 0);
    }
  };
  Parameters unet_weights(1), dit_weights(1);
  nn::UNet2dOptions unet_options;
  unet_options.size = 8;
  unet_options.width = 8;
  unet_options.multipliers = {1, 2};
  unet_options.attention = {4};
  unet_options.num_classes = 4;
  unet_options.takes_target = unet_options.takes_guidance = true;
  nn::UNet2d unet(Scope(unet_weights), unet_options);
  check(unet, unet_weights);
  nn::DiTOptions dit_options;
  dit_options.height = dit_options.width = 8;
  dit_options.features = 16;
  dit_options.depth = 2;
  dit_options.heads = 2;
  dit_options.num_classes = 4;
  dit_options.takes_target = dit_options.takes_guidance = true;
  nn::DiT dit(Scope(dit_weights), dit_options);
  check(dit, dit_weights);
}

CATCH_TEST_CASE("unpatchify undoes patchify", "[core][nn]") {
  const at::Tensor x = at::arange(2 * 3 * 4 * 6).reshape({2, 3, 4, 6});
  CATCH_CHECK(at::equal(nn::unpatchify(nn::patchify(x, 2), 4, 6, 2), x));
}

CATCH_TEST_CASE("a damaged newest checkpoint is passed over for the one before", "[core][checkpoint]") {
  const fs::path folder = fresh_folder("checkpoint");
  for (const std::int64_t step : {100, 200})
    save_checkpoint(folder, {step, 1.0, {{"w", at::full({3}, static_cast<double>(step))}}}, "hash");
  CATCH_CHECK(load_newest_checkpoint(folder, "hash")->step == 200);
  std::fstream file(folder / "step_0000200.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x7f');
  file.close();
  const auto state = load_newest_checkpoint(folder, "hash");
  CATCH_REQUIRE(state);
  CATCH_CHECK(state->step == 100);
  CATCH_CHECK(at::equal(state->tensors.front().second, at::full({3}, 100.0)));
  CATCH_CHECK_THROWS_AS(load_newest_checkpoint(folder, "other"), ConfigError);
  prune_checkpoints(folder, 1);
  CATCH_CHECK_FALSE(fs::exists(folder / "step_0000100.json"));
  fs::remove_all(folder);
}

CATCH_TEST_CASE("a save that fails at any operation leaves a loadable checkpoint", "[core][checkpoint]") {
  const fs::path folder = fresh_folder("faults");
  save_checkpoint(folder, {1, 0.0, {{"w", at::ones({3})}}}, "hash");
  int failures = 0;
  for (int failing = 0; failing < 40; ++failing) {
    int operation = 0;
    set_file_hook([&](std::string_view, const fs::path& path) {
      if (operation++ == failing) throw ResourceError(path.string() + ": no space left on device");
    });
    bool has_failed = false;
    try {
      save_checkpoint(folder, {2, 0.0, {{"w", at::zeros({3})}}}, "hash");
    } catch (const ResourceError&) {
      has_failed = true;
    }
    set_file_hook({});
    const auto state = load_newest_checkpoint(folder, "hash");
    CATCH_REQUIRE(state);
    if (!has_failed) break;
    ++failures;
    fs::remove(folder / "step_0000002.json");
  }
  CATCH_CHECK(failures >= 4);
  fs::remove_all(folder);
}

CATCH_TEST_CASE("weights of another architecture are refused by the tensor's name and both shapes",
                "[core][checkpoint]") {
  const NamedTensors targets{{"a", at::zeros({2, 3})}};
  const auto message = [&](const NamedTensors& values) -> std::string {
    try {
      assign(targets, values, "m");
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  };
  CATCH_CHECK_THAT(message({{"b", at::zeros({2, 3})}}), Catch::Contains("no tensor \"a\""));
  CATCH_CHECK_THAT(message({{"a", at::zeros({3, 2})}}), Catch::Contains("[3, 2]") && Catch::Contains("[2, 3]"));
  CATCH_CHECK_THAT(message({{"a", at::zeros({2, 3})}, {"b", at::zeros({1})}}), Catch::Contains("\"b\" has no place"));
  CATCH_CHECK(message({{"a", at::ones({2, 3}, at::kHalf)}}).empty());
}
