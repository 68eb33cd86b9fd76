// The networks of clouds as backbones: order, where they start, what they are told, what they refuse.

#include <cmath>

#include <c10/core/GradMode.h>

#include "core/metrics/features.h"
#include "core/model.h"
#include "core/nn/perturbation.h"
#include "modalities/points/set_networks.h"
#include "tests/points/points.h"

using namespace thaw;
using thaw::testing::gap;
using thaw::testing::message_of;
using thaw::testing::random_clouds;

namespace {

const char* const kNetworks[] = {
    "{type: pointwise, features: 16",
    "{type: pointwise, features: 16, pooled: false",
    "{type: point_transformer, features: 16, depth: 2, heads: 2",
    "{type: point_transformer, features: 16, depth: 2, heads: 2, told_by: tokens",
    "{type: point_transformer, features: 16, depth: 2, heads: 2, inducing: 5",
    "{type: point_transformer, features: 16, depth: 2, heads: 2, inducing: 5, frequencies: 3, told_by: tokens",
    "{type: point_two_stream, features: 16, latents: 5, latent_features: 8, depth: 2, latent_depth: 1, heads: 2",
    "{type: dit3d, side: 8, patch: 4, features: 16, depth: 2, heads: 2",
    "{type: dit3d, side: 8, patch: 2, features: 16, depth: 2, heads: 2, window: 2",
    "{type: pvcnn, side: 4, features: 16, depth: 2",
    "{type: pvcnn2, width: 0.25, resolution: 0.375",
};

std::unique_ptr<Backbone> fresh(const std::string& yaml, const DataSpec& spec = {{3, 20}, 3}) {
  BackboneRegistry registry("backbone");
  points::register_cloud_backbones(registry);
  points::register_voxel_networks(registry);
  return registry.create(Config::parse(yaml, "t"), "", spec, 5);
}

std::unique_ptr<Backbone> stirred(const std::string& yaml, const DataSpec& spec = {{3, 20}, 3}) {
  const c10::NoGradGuard no_grad;
  auto backbone = fresh(yaml, spec);
  std::uint64_t count = 10;
  for (auto [name, weight] : backbone->parameters().all()) weight.add_(0.1 * random_clouds(weight.sizes(), count++));
  return backbone;
}

const at::Tensor x = random_clouds({3, 3, 20});
const at::Tensor noise = at::tensor({10.0F, 500.0F, 900.0F});
const Condition label{{"label", at::tensor({0, 1, 2}, at::kLong)}};

}  // namespace

CATCH_TEST_CASE("waves stand beside each coordinate, each of twice the frequency of the last", "[points][backbone]") {
  const at::Tensor x_NKC = at::tensor({0.5, -2.0}, at::kDouble).reshape({1, 2, 1});
  std::vector<double> expected;
  for (const double value : {0.5, -2.0})
    for (const double number : {value, std::sin(value), std::cos(value), std::sin(2 * value), std::cos(2 * value)})
      expected.push_back(number);
  CATCH_CHECK(gap(points::with_waves(x_NKC, 2).flatten(), at::tensor(expected, at::kDouble)) < 1e-12);
  CATCH_CHECK(at::equal(points::with_waves(x_NKC, 0), x_NKC));
}

CATCH_TEST_CASE("moving points to other places moves what networks give for them", "[points][backbone]") {
  const c10::NoGradGuard no_grad;
  const at::Tensor order = at::arange(20).mul(7).remainder(20);
  for (const std::string network : kNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + "}");
    const at::Tensor output = backbone->forward(x, noise, label);
    CATCH_CHECK(output.std().item<double>() > 1e-2);
    CATCH_CHECK(gap(backbone->forward(x.index_select(2, order), noise, label), output.index_select(2, order)) < 1e-5);
    const at::Tensor clouds = at::tensor({2, 0, 1}, at::kLong);
    const at::Tensor other = backbone->forward(x.index_select(0, clouds), noise.index_select(0, clouds),
                                               {{"label", label.at("label").index_select(0, clouds)}});
    CATCH_CHECK(gap(other, output.index_select(0, clouds)) < 1e-5);
  }
}

CATCH_TEST_CASE("networks of clouds start as zero and take any number of points", "[points][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kNetworks) {
    CATCH_CAPTURE(network);
    CATCH_CHECK(at::equal(fresh(network + "}")->forward(x, noise, label), at::zeros_like(x)));
    const auto backbone = stirred(network + "}");
    for (const std::int64_t points : {1, 7, 64})
      CATCH_CHECK(backbone->forward(random_clouds({3, 3, points}), noise, label).sizes() ==
                  at::IntArrayRef({3, 3, points}));
  }
}

CATCH_TEST_CASE("networks of clouds hear the level, the class and the other points", "[points][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + "}");
    const at::Tensor output = backbone->forward(x, noise, label);
    CATCH_CHECK(gap(backbone->forward(x, noise + 50, label), output) > 1e-3);
    CATCH_CHECK(gap(backbone->forward(x, noise, {{"label", at::tensor({1, 2, 3}, at::kLong)}}), output) > 1e-3);
    at::Tensor other = x.clone();
    other.narrow(2, 19, 1).add_(1.0);
    const double others = gap(backbone->forward(other, noise, label).narrow(2, 0, 19), output.narrow(2, 0, 19));
    CATCH_CHECK((others > 1e-6) == (network.find("pooled: false") == std::string::npos));
    const auto told = stirred(network + ", takes_target: true, takes_guidance: true}");
    Condition more = label;
    more["target"] = at::tensor({5.0F, 400.0F, 900.0F});
    more["guidance"] = at::tensor({1.0F, 2.0F, 3.0F});
    const at::Tensor first = told->forward(x, noise, more);
    for (const char* number : {"target", "guidance"}) {
      Condition changed = more;
      changed[number] = more[number] + 20;
      CATCH_CHECK(gap(told->forward(x, noise, changed), first) > 1e-4);
    }
  }
}

CATCH_TEST_CASE("networks of clouds can be told what is given, see estimates and give a variance",
                "[points][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string network : kNetworks) {
    CATCH_CAPTURE(network);
    const auto backbone = stirred(network + ", given: true, self_conditioning: true, learns_variance: true}");
    CATCH_CHECK(backbone->forward(x, noise, label).sizes() == at::IntArrayRef({3, 6, 20}));
    Condition given = label;
    given["given"] = x * 0.5;
    given["given_mask"] = at::ones({3, 1, 20});
    CATCH_CHECK(gap(backbone->forward(x, noise, given), backbone->forward(x, noise, label)) > 1e-4);
    Condition estimate = label;
    estimate["estimate"] = x * 0.5;
    CATCH_CHECK(gap(backbone->forward(x, noise, estimate), backbone->forward(x, noise, label)) > 1e-4);
  }
}

CATCH_TEST_CASE("a perturbed pass changes the layers of a point transformer and nothing else", "[points][backbone]") {
  const c10::NoGradGuard no_grad;
  for (const std::string more : {"", ", inducing: 4", ", told_by: tokens"}) {
    CATCH_CAPTURE(more);
    const auto backbone = stirred("{type: point_transformer, features: 16, depth: 2, heads: 2" + more + "}");
    CATCH_CHECK(backbone->attention_layers() == 2);
    const at::Tensor output = backbone->forward(x, noise, label);
    for (const auto kind : {Perturbation::Kind::kIdentityAttention, Perturbation::Kind::kSkippedLayer}) {
      const Perturbation one{kind, {1}}, none{kind, {}};
      const auto perturbed = [&](const Perturbation& perturbation) {
        const nn::PerturbedPass pass(perturbation);
        return backbone->forward(x, noise, label);
      };
      CATCH_CHECK(gap(perturbed(one), output) > 1e-4);
      CATCH_CHECK(gap(perturbed(none), output) == 0.0);
    }
  }
}

CATCH_TEST_CASE("a classifier of clouds sees their points in any order and any number", "[points][backbone]") {
  const c10::NoGradGuard no_grad;
  const auto backbone = stirred("{type: point_classifier, width: 8, features: 12}");
  const auto& classifier = dynamic_cast<const Classifier&>(*backbone);
  const at::Tensor logits = classifier.logits(x);
  CATCH_CHECK(logits.sizes() == at::IntArrayRef({3, 3}));
  CATCH_CHECK(classifier.features(x).sizes() == at::IntArrayRef({3, 12}));
  CATCH_CHECK(gap(classifier.logits(x.flip(2)), logits) < 1e-5);
  CATCH_CHECK(gap(classifier.logits(at::cat({x, x}, 2)), logits) < 1e-5);  // maximum and mean do not count
  CATCH_CHECK(gap(classifier.logits(x + 0.3), logits) > 1e-3);
}

CATCH_TEST_CASE("the pointwise network is small, and what does not fit is refused", "[points][backbone]") {
  CATCH_CHECK(num_weights(fresh("{type: pointwise}")->parameters().all()) < 2'000'000);
  const auto refusal = [](const std::string& yaml, const DataSpec& spec) {
    return message_of<ConfigError>([&] { fresh(yaml, spec); });
  };
  CATCH_CHECK(refusal("{type: pointwise}", {{1, 28, 28}, 3}).find("works on clouds [channels, points]") !=
              std::string::npos);
  CATCH_CHECK(refusal("{type: point_transformer, features: 10, heads: 4}", {{3, 20}, 3}).find("multiple of heads") !=
              std::string::npos);
  CATCH_CHECK(refusal("{type: point_transformer, coarse: 2}", {{3, 20}, 3}).find("coarse") != std::string::npos);
  CATCH_CHECK(refusal("{type: point_classifier}", {{3, 20}, 0}).find("needs labelled clouds") != std::string::npos);
}
