// I3D against layers of torch.nn, and what goes into it.

#include <cmath>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint.h"
#include "core/model.h"
#include "modalities/video/i3d.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"

using namespace thaw;
using namespace thaw::video;

namespace {

// The formula of tests/peers/i3d.py.
at::Tensor values(int number, at::IntArrayRef shape, double scale, double offset = 0.0) {
  const at::Tensor out = at::empty(shape, at::kDouble);
  double* value = out.data_ptr<double>();
  for (std::int64_t i = 0; i < out.numel(); ++i)
    value[i] = std::sin(0.7 * number + 1.3 * static_cast<double>(i)) * scale + offset;
  return out;
}

// In double: the peer's weights with its normalisations folded in.
void fill(const I3d& network) {
  move_weights(network.parameters(), c10::kCPU, at::kDouble);
  const NamedTensors& all = network.parameters().all();
  NamedTensors filled;
  int number = 0;
  for (std::size_t i = 0; i < all.size(); i += 2) {
    const at::Tensor &weight = all[i].second, &bias = all[i + 1].second;
    const double scale = 2.0 / std::sqrt(static_cast<double>(weight[0].numel()));
    const at::Tensor raw = values(++number, weight.sizes(), scale);
    if (all[i].first == "logits.weight") {
      filled.insert(filled.end(), {{all[i].first, raw}, {all[i + 1].first, values(++number, bias.sizes(), 0.1)}});
      continue;
    }
    const at::Tensor gamma = values(++number, bias.sizes(), 0.3, 1.0), beta = values(++number, bias.sizes(), 0.1, 0.05);
    const at::Tensor mean = values(++number, bias.sizes(), 0.1), variance = values(++number, bias.sizes(), 0.2, 0.5);
    const at::Tensor gain = gamma / (variance + 1e-3).sqrt();
    filled.insert(filled.end(),
                  {{all[i].first, raw * gain.view({-1, 1, 1, 1, 1})}, {all[i + 1].first, beta - mean * gain}});
  }
  assign(all, filled, "the formula");
}

}  // namespace

CATCH_TEST_CASE("I3D in small is that of torch.nn, where sides are no multiples of strides too", "[video][fvd]") {
  const nlohmann::json golden = nlohmann::json::parse(read_file("tests/golden/i3d.json"));
  const I3d network({.divisor = 8, .pool_side = 2, .classes = 10});
  fill(network);
  CATCH_REQUIRE(golden["cases"].size() == 2);
  for (const auto& one : golden["cases"]) {
    const auto shape = one["shape"].get<std::vector<std::int64_t>>();
    std::int64_t count = 1;
    for (const std::int64_t side : shape) count *= side;
    const at::Tensor x = (0.37 * at::arange(count, at::kDouble).pow(1.1)).sin().view(shape);
    const at::Tensor expected = at::tensor(one["logits"].get<std::vector<double>>(), at::kDouble).view({shape[0], 10});
    const at::Tensor found = network.logits(x);
    CATCH_CHECK((found - expected).abs().max().item<double>() < 1e-9 * expected.abs().max().item<double>());
  }
  CATCH_CHECK_THROWS_WITH(network.logits(at::zeros({1, 3, 8, 64, 64}, at::kDouble)),
                          Catch::Contains("at least 9 frames") && Catch::Contains("[1, 3, 8, 64, 64]"));
}

CATCH_TEST_CASE("frames come to I3D's size and range as torch's interpolation brings them", "[video][fvd]") {
  const nlohmann::json golden = nlohmann::json::parse(read_file("tests/golden/i3d.json"));
  const at::Tensor raw =
      (at::arange(2 * 1 * 2 * 5 * 7, at::kLong) * 37).remainder(256).to(at::kByte).view({2, 1, 2, 5, 7});
  const at::Tensor expected =
      at::tensor(golden["resized"].get<std::vector<double>>(), at::kFloat).view({2, 1, 2, 8, 8});
  const at::Tensor found = i3d_input(raw, 8);
  CATCH_CHECK(found.sizes() == at::IntArrayRef{2, 3, 2, 8, 8});
  for (std::int64_t c = 0; c < 3; ++c)  // gray is the same in all channels
    CATCH_CHECK((found.narrow(1, c, 1) - expected).abs().max().item<double>() < 1e-6);
}

CATCH_TEST_CASE("I3D is read from a file of ours, and from no other", "[video][fvd]") {
  const thaw::test::Scratch scratch("i3d");
  const I3d whole;
  std::int64_t weights = 0;
  for (const auto& [name, tensor] : whole.parameters().all()) weights += tensor.numel();
  // The 12,697,264 of PyTorch's layers (tests/peers/i3d_layers.py) without their 7,280 scales, which are folded in.
  CATCH_CHECK(weights == 12'697'264 - 7'280);
  CATCH_CHECK(whole.parameters().all().size() == 116);
  save_tensors(scratch / "other.safetensors", {{"conv_1a.weight", at::zeros({64, 3, 7, 7, 7})}});
  CATCH_CHECK_THROWS_WITH(open_i3d(scratch / "other.safetensors"), Catch::Contains("conv_1a.bias"));
}
