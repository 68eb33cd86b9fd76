// The U-Net's own shapes.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/nn/unet2d.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

// Layers that start at zero would answer zero to everything.
void fill(const Parameters& parameters) {
  const c10::NoGradGuard no_grad;
  double phase = 0.0;
  for (const auto& [name, tensor] : parameters.all()) {
    tensor.copy_(at::sin(at::arange(tensor.numel(), at::kFloat) * 0.37 + phase).mul(0.1).view(tensor.sizes()));
    phase += 1.0;
  }
}

}  // namespace

CATCH_TEST_CASE("patches of p pixels are p^2 channels of the same network", "[core][nn]") {
  const c10::NoGradGuard no_grad;
  for (const bool is_temporal : {false, true}) {
    CATCH_CAPTURE(is_temporal);
    nn::UNet2dOptions places{.in_channels = 4, .out_channels = 4, .size = 8, .width = 8, .multipliers = {1, 2}};
    places.attention = {4};
    places.is_temporal = is_temporal;
    nn::UNet2dOptions pixels = places;
    pixels.in_channels = pixels.out_channels = 1;
    pixels.size = 16;
    pixels.patch = 2;
    Parameters of_places(1), of_pixels(1);
    const nn::UNet2d net(Scope(of_places), places), patched(Scope(of_pixels), pixels);
    fill(of_places);
    fill(of_pixels);
    const at::Tensor x = at::sin(at::arange(2 * 3 * 256, at::kFloat)).view({2, 3, 16, 16});
    const nn::Told told{.noise = at::tensor({100.0f, 700.0f})};
    // Clips [N, 1, T, H, W] of three frames, and the first frames alone.
    const at::Tensor seen = is_temporal ? x.unsqueeze(1) : x.narrow(1, 0, 1);
    const at::Tensor unshuffled =
        is_temporal ? at::pixel_unshuffle(seen.transpose(1, 2), 2).transpose(1, 2) : at::pixel_unshuffle(seen, 2);
    const at::Tensor y = net(unshuffled, told);
    const at::Tensor expected =
        is_temporal ? at::pixel_shuffle(y.transpose(1, 2), 2).transpose(1, 2) : at::pixel_shuffle(y, 2);
    CATCH_CHECK(at::equal(patched(seen, told), expected));
    CATCH_CHECK(expected.abs().max().item<float>() > 1e-3f);
  }
}

CATCH_TEST_CASE("a patch that does not divide the picture is refused", "[core][nn]") {
  Parameters weights(1);
  const nn::UNet2dOptions options{.size = 28, .patch = 3, .width = 8, .multipliers = {1, 2}};
  CATCH_CHECK_THROWS_AS(nn::UNet2d(Scope(weights), options), ConfigError);
}
