// Networks of clips that are told of each frame: its noise, and whether it is given.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/util/accumulate.h>

#include "core/base/error.h"
#include "core/given.h"
#include "core/nn/unet2d.h"
#include "modalities/video/list.h"
#include "modalities/video/register.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

std::unique_ptr<Backbone> unet3d(const std::string& options) {
  BackboneRegistry registry("backbone");
  video::register_backbones(registry);
  auto backbone =
      registry.create(Config::parse("{width: 8, multipliers: [1, 2], blocks: 1, attention: [4], " + options + "}", "t"),
                      "unet3d", {{1, 4, 8, 8}, 10}, std::uint64_t{1});
  const c10::NoGradGuard no_grad;
  for (const auto& [name, tensor] : backbone->parameters().all()) tensor.add_(0.01);
  return backbone;
}

at::Tensor noise_like(at::IntArrayRef shape) {
  return at::linspace(-1, 1, c10::multiply_integers(shape)).mul(37).sin().reshape(shape);
}

}  // namespace

CATCH_TEST_CASE("frames at one level are a clip at that level, and each frame hears of its own", "[video][levels]") {
  const c10::NoGradGuard no_grad;
  const auto network = unet3d("given: false");
  CATCH_CHECK(network->takes_parts());
  CATCH_CHECK_FALSE(network->takes_given());
  const at::Tensor x = noise_like({2, 1, 4, 8, 8}), clip = at::tensor({100.0F, 700.0F});
  const Condition label{{"label", at::tensor({3, 4}, at::kLong)}};
  const at::Tensor whole = network->forward(x, clip, label);
  // Matrix products round by the number of their rows.
  const at::Tensor frames = network->forward(x, clip.unsqueeze(1).expand({2, 4}).contiguous(), label);
  CATCH_CHECK((frames - whole).abs().max().item<double>() < 1e-5);
  // As it starts frames do not see each other: a frame is what a clip at its level makes of it.
  const auto fresh = [&] {
    auto made = unet3d("given: false");
    for (const auto& [name, tensor] : made->parameters().all())
      if (name.find("temporal") != std::string::npos) tensor.zero_();
    return made;
  }();
  const at::Tensor levels = at::tensor({0.0F, 50.0F, 400.0F, 900.0F}).expand({2, 4}).contiguous();
  const at::Tensor apart = fresh->forward(x, levels, label);
  for (std::int64_t t = 0; t < 4; ++t) {
    const at::Tensor same = fresh->forward(x, levels.select(1, t).contiguous(), label);
    CATCH_CHECK((apart.select(2, t) - same.select(2, t)).abs().max().item<double>() < 1e-5);
    CATCH_CHECK((apart.select(2, t) - same.select(2, (t + 1) % 4)).abs().max().item<double>() > 1e-4);
  }
}

CATCH_TEST_CASE("a network that takes a given part looks at it and at where it is", "[video][given]") {
  const c10::NoGradGuard no_grad;
  const auto network = unet3d("given: true");
  CATCH_CHECK(network->takes_given());
  const at::Tensor x = noise_like({1, 1, 4, 8, 8}), noise = at::tensor({300.0F});
  const at::Tensor mask = at::tensor({1.0F, 0.0F, 0.0F, 0.0F}).reshape({1, 1, 4, 1, 1});
  const Condition none, zeros{{"given", at::zeros_like(x)}, {"given_mask", at::zeros_like(mask)}};
  const Condition black{{"given", at::zeros_like(x)}, {"given_mask", mask}},
      shown{{"given", x * mask}, {"given_mask", mask}};
  const at::Tensor free = network->forward(x, noise, none);
  CATCH_CHECK(at::equal(free, network->forward(x, noise, zeros)));
  CATCH_CHECK_FALSE(at::equal(free, network->forward(x, noise, black)));
  CATCH_CHECK_FALSE(at::equal(network->forward(x, noise, shown), network->forward(x, noise, black)));
}

CATCH_TEST_CASE("tasks of clips say which frames are given", "[video][given]") {
  TaskRegistry registry("task");
  register_tasks(registry);
  const auto frames_given = [&](const std::string& name, const std::string& options) {
    const TaskPtr task = registry.create(Config::parse(options, "t"), name);
    return task->mask({1, 5, 8, 8}, {1, Purpose::kTrainCondition, 0, 0, 0}).flatten();
  };
  CATCH_CHECK(at::equal(frames_given("continuation", "{first: 2}"), at::tensor({1.0F, 1.0F, 0.0F, 0.0F, 0.0F})));
  CATCH_CHECK(at::equal(frames_given("last", "{last: 1}"), at::tensor({0.0F, 0.0F, 0.0F, 0.0F, 1.0F})));
  CATCH_CHECK(at::equal(frames_given("in_between", "{}"), at::tensor({1.0F, 0.0F, 0.0F, 0.0F, 1.0F})));
}
