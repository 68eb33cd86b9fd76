// Factors in place of weights, against the derivative of the same network written with the product.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/lora.h"
#include "core/low_rank.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::Scratch;

namespace {

struct Network {
  Parameters parameters{4};
  at::Tensor linear = parameters.add("block.attn.to_q.weight", {5, 3}, Init::normal(1));
  at::Tensor conv = parameters.add("block.attn.conv.weight", {2, 5, 3, 3}, Init::normal(1));
  at::Tensor other = parameters.add("block.mlp.weight", {3, 3}, Init::normal(1));
  at::Tensor bias = parameters.add("block.attn.to_q.bias", {5}, Init::normal(1));
};

// The network's loss by its weights as they are given.
at::Tensor loss(const at::Tensor& linear, const at::Tensor& conv, const Network& network) {
  const at::Tensor x = (at::arange(48, at::kFloat) * 0.7).sin().reshape({1, 16, 3});
  const at::Tensor h = at::linear(at::linear(x, network.other), linear, network.bias);  // [1, 16, 5]
  return at::conv2d(h.transpose(1, 2).reshape({1, 5, 4, 4}).tanh(), conv).square().sum();
}

}  // namespace

CATCH_TEST_CASE("gradients of the factors are those of the product written out", "[core][lora]") {
  Network network;
  LowRankWeights low_rank(network.parameters.all(), {.rank = 2, .targets = {"attn"}}, 9);
  const NamedTensors& factors = low_rank.factors();
  CATCH_REQUIRE(factors.size() == 4);
  CATCH_CHECK(factors[0].first == "block.attn.to_q.lora_A.weight");
  CATCH_CHECK(factors[2].second.sizes() == at::IntArrayRef{2, 5, 3, 3});
  CATCH_CHECK(factors[3].second.sizes() == at::IntArrayRef{2, 2, 1, 1});
  const at::Tensor before = network.linear.detach().clone(), convolution = network.conv.detach().clone();
  low_rank.apply();
  CATCH_CHECK(network.linear.equal(before));  // up starts at zero
  for (const auto& [name, factor] : factors)
    factor.detach().copy_((at::arange(factor.numel(), at::kFloat) * 1.3).cos().reshape(factor.sizes()) * 0.5);
  low_rank.apply();
  CATCH_CHECK(!network.linear.equal(before));
  loss(network.linear, network.conv, network).backward();
  low_rank.pass_gradients();
  CATCH_CHECK(!network.linear.grad().defined());
  CATCH_CHECK(!network.other.grad().defined());
  CATCH_CHECK(!network.bias.grad().defined());
  std::vector<at::Tensor> free;
  for (const auto& [name, factor] : factors) free.push_back(factor.detach().clone().requires_grad_());
  loss(before + at::matmul(free[1], free[0]),
       convolution + at::matmul(free[3].flatten(1), free[2].flatten(1)).reshape(convolution.sizes()), network)
      .backward();
  for (std::size_t i = 0; i < free.size(); ++i) {
    CATCH_CAPTURE(factors[i].first);
    CATCH_CHECK(at::allclose(factors[i].second.grad(), free[i].grad(), 1e-4, 1e-5));
  }
  low_rank.pass_gradients();  // there is nothing new
  CATCH_CHECK(at::allclose(factors[0].second.grad(), free[0].grad(), 1e-4, 1e-5));
}

CATCH_TEST_CASE("a file of factors, merged into the first weights, gives the trained ones", "[core][lora]") {
  const Scratch scratch;
  Network trained, fresh;
  LowRankWeights low_rank(trained.parameters.all(), {.rank = 3, .targets = {"attn"}}, 9);
  for (const auto& [name, factor] : low_rank.factors())
    factor.detach().copy_((at::arange(factor.numel(), at::kFloat) * 1.7).sin().reshape(factor.sizes()));
  low_rank.apply();
  low_rank.save(scratch / "lora.safetensors");
  LoraMerge merge(fresh.parameters.all());
  merge.set({{load_lora(scratch / "lora.safetensors", fresh.parameters.all()), 1.0}});
  CATCH_CHECK(at::allclose(fresh.linear, trained.linear, 1e-6, 1e-6));
  CATCH_CHECK(at::allclose(fresh.conv, trained.conv, 1e-6, 1e-6));
  CATCH_CHECK(fresh.other.equal(trained.other));
}

CATCH_TEST_CASE("targets that name nothing are refused", "[core][lora]") {
  Network network;
  try {
    LowRankWeights(network.parameters.all(), {.rank = 2, .targets = {"nothing", "bias"}}, 1);
    CATCH_FAIL("not refused");
  } catch (const ConfigError& error) {
    CATCH_CHECK(std::string(error.what()).find("train.lora.targets: no weight") != std::string::npos);
  }
}
