// PVD's denoiser: its weights and numbers against a restatement in PyTorch, derivatives, order, refusals.

#include "modalities/points/pvcnn2.h"

#include <cmath>
#include <map>
#include <set>

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/io/json_guard.h"
#include "core/jvp.h"
#include "core/nn/perturbation.h"
#include "tests/points/points.h"

using namespace thaw;
using namespace thaw::points;
using thaw::testing::gap;
using thaw::testing::message_of;
using thaw::testing::random_clouds;

namespace {

const nlohmann::json& golden() {
  static const nlohmann::json numbers =
      parse_json_file(std::filesystem::path(THAW_SOURCE_DIR) / "tests/golden/pvd_network.json");
  return numbers;
}

// What the script of the golden file calls scattered.
at::Tensor scattered(at::IntArrayRef shape, double start) {
  const at::Tensor waves =
      at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * 12.9898 + start) * 43758.5453;
  return (waves - waves.floor() - 0.5).reshape(shape) * std::sqrt(12.0);
}

Pvcnn2Options small(Choice choice = Choice::kByPlace) {
  Pvcnn2Options options;
  options.width = 0.25;
  options.resolution = 0.375;
  options.choice = choice;
  return options;
}

struct InDouble {
  Parameters parameters{3};
  Pvcnn2 network;
  explicit InDouble(const Pvcnn2Options& options) : network(Scope(parameters), options) {
    for (auto [name, weight] : parameters.all()) weight.set_data(weight.to(at::kDouble));
  }
  void fill() {
    const c10::NoGradGuard no_grad;
    const std::set<std::string> norms = golden()["norms"];
    const std::map<std::string, at::Tensor> sorted(parameters.all().begin(), parameters.all().end());
    double number = 0.0;
    for (auto [name, weight] : sorted) {
      const at::Tensor values = scattered(weight.sizes(), number++);
      const auto fan_in = static_cast<double>(weight.numel() / weight.size(0));
      weight.copy_(weight.dim() > 1 ? values * std::sqrt(2.0 / fan_in) : values * 0.2 + (norms.contains(name) ? 1 : 0));
    }
  }
};

std::unique_ptr<Backbone> fresh(const std::string& yaml, const DataSpec& spec = {{3, 64}, 0}) {
  BackboneRegistry registry("backbone");
  register_voxel_networks(registry);
  return registry.create(Config::parse(yaml, "t"), "", spec, 5);
}

}  // namespace

CATCH_TEST_CASE("the weights of pvcnn2 have the names and shapes of PVD's", "[points][pvcnn2]") {
  const auto backbone = fresh("{type: pvcnn2}");
  std::int64_t count = 0;
  std::map<std::string, std::vector<std::int64_t>> own, wanted = golden()["weights"];
  for (const auto& [name, weight] : backbone->parameters().all()) {
    own[name] = weight.sizes().vec();
    count += weight.numel();
  }
  CATCH_CHECK(own == wanted);
  CATCH_CHECK(count == 27'649'987);
  CATCH_CHECK(count == golden()["num_weights"].get<std::int64_t>());
  // What PVD is not told comes beside them.
  const auto told = fresh("{type: pvcnn2, width: 0.25, takes_target: true, exact: pvd}", {{3, 64}, 4});
  for (const auto& [name, weight] : told->parameters().all())
    CATCH_CHECK((wanted.contains(name) || name.starts_with("told.")));
}

CATCH_TEST_CASE("pvcnn2 with PVD's choices gives the numbers of PVD's denoiser", "[points][pvcnn2]") {
  const c10::NoGradGuard no_grad;
  for (const auto& one : golden()["cases"]) {
    const auto channels = one["channels"].get<std::int64_t>(), points = one["points"].get<std::int64_t>();
    CATCH_CAPTURE(channels, points);
    Pvcnn2Options options = small(Choice::kByOrder);
    options.in_channels = options.out_channels = channels;
    InDouble made(options);
    made.fill();
    const at::Tensor x = scattered({2, channels, points}, 0.5) * 0.4;
    const nn::Told told{at::tensor(one["level"].get<std::vector<double>>(), at::kDouble)};
    const at::Tensor output = made.network(x, told);
    const at::Tensor wanted = at::tensor(one["output"].get<std::vector<double>>(), at::kDouble).reshape(output.sizes());
    CATCH_CHECK(gap(output, wanted) < 1e-7);  // the file has nine decimals
    // Norms of few numbers and unscaled logits enlarge the rounding of float32: PyTorch itself is as far from float64.
    for (auto [name, weight] : made.parameters.all()) weight.set_data(weight.to(at::kFloat));
    CATCH_CHECK(gap(made.network(x.to(at::kFloat), {told.noise.to(at::kFloat)}), wanted) < 1e-4);
  }
}

CATCH_TEST_CASE("pvcnn2 has the derivatives that differences give, by weights and by points", "[points][pvcnn2]") {
  InDouble made(small());
  made.fill();
  std::vector<at::Tensor> inputs{scattered({2, 3, 40}, 1.0)}, directions{scattered({2, 3, 40}, 9.0) * 0.1};
  for (const auto& [name, weight] : made.parameters.all()) {
    inputs.push_back(weight);
    directions.push_back(scattered(weight.sizes(), static_cast<double>(inputs.size())) * 0.02);
  }
  inputs[0].requires_grad_();
  const nn::Told told{at::tensor({30.0, 700.0}, at::kDouble)};
  const at::Tensor look = scattered({2, 3, 40}, 5.0);
  const auto value = [&] { return (made.network(inputs[0], told) * look).sum(); };
  const auto slopes = torch::autograd::grad({value()}, inputs);
  const c10::NoGradGuard no_grad;
  constexpr double kStep = 1e-6;
  const auto moved = [&](std::size_t first, std::size_t last, double step) {
    for (std::size_t i = first; i < last; ++i) inputs[i].add_(directions[i], step);
    const double result = value().item<double>();
    for (std::size_t i = first; i < last; ++i) inputs[i].sub_(directions[i], step);
    return result;
  };
  for (const auto& [first, last] : {std::pair<std::size_t, std::size_t>{0, 1}, {1, inputs.size()}}) {
    double slope = 0.0;
    for (std::size_t i = first; i < last; ++i) slope += (slopes[i] * directions[i]).sum().item<double>();
    const double difference = (moved(first, last, kStep) - moved(first, last, -kStep)) / (2 * kStep);
    CATCH_CAPTURE(first);
    CATCH_CHECK(std::abs(slope) > 0.1);
    CATCH_CHECK(slope == Catch::Approx(difference).epsilon(1e-5));
    if (first > 0) continue;
    const Dual forward =
        derivative_along([&](const auto& x) { return made.network(x[0], told); }, {inputs[0]}, {directions[0]});
    CATCH_CHECK((forward.tangent * look).sum().item<double>() == Catch::Approx(slope).epsilon(1e-9));
  }
}

CATCH_TEST_CASE("every weight of pvcnn2 reaches its output", "[points][pvcnn2]") {
  InDouble made(small());
  made.fill();
  std::vector<at::Tensor> weights;
  for (const auto& [name, weight] : made.parameters.all()) weights.push_back(weight);
  const at::Tensor output = made.network(scattered({2, 3, 64}, 1.0), {at::tensor({30.0, 700.0}, at::kDouble)});
  const auto slopes = torch::autograd::grad({output.square().sum()}, weights);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::string& name = made.parameters.all()[i].first;
    CATCH_CAPTURE(name);
    // At this width one number is squeezed out of eight, and its activation may be off on both clouds.
    CATCH_CHECK((slopes[i].abs().max().item<double>() > 0.0 || name.find(".fc.") != std::string::npos));
  }
}

CATCH_TEST_CASE("points of one place have finite derivatives by themselves", "[points][pvcnn2]") {
  InDouble made(small());
  made.fill();
  for (const std::int64_t points : {1, 3, 40}) {
    const at::Tensor x = at::full({1, 3, points}, 0.5, at::kDouble).requires_grad_();
    const at::Tensor output = made.network(x, {at::tensor({30.0}, at::kDouble)});
    CATCH_CHECK(torch::autograd::grad({output.sum()}, {x})[0].isfinite().all().item<bool>());
  }
}

CATCH_TEST_CASE("PVD's choices depend on the order of points, the others do not", "[points][pvcnn2]") {
  const c10::NoGradGuard no_grad;
  const at::Tensor x = scattered({2, 3, 64}, 2.0);
  const nn::Told told{at::tensor({30.0, 700.0}, at::kDouble)};
  for (const Choice choice : {Choice::kByPlace, Choice::kByOrder}) {
    InDouble made(small(choice));
    made.fill();
    const double moved = gap(made.network(x.flip(2), told), made.network(x, told).flip(2));
    CATCH_CHECK((moved < 1e-10) == (choice == Choice::kByPlace));
    CATCH_CHECK((moved > 1e-3) == (choice == Choice::kByOrder));
  }
}

CATCH_TEST_CASE("perturbed passes reach both attentions of pvcnn2", "[points][pvcnn2]") {
  const c10::NoGradGuard no_grad;
  InDouble made(small());
  made.fill();
  CATCH_CHECK(made.network.attention_layers() == 2);
  const at::Tensor x = scattered({1, 3, 256}, 2.0);
  const nn::Told told{at::tensor({30.0}, at::kDouble)};
  const at::Tensor output = made.network(x, told);
  for (const auto kind : {Perturbation::Kind::kIdentityAttention, Perturbation::Kind::kSkippedLayer})
    for (const std::int64_t layer : {0, 1}) {
      const Perturbation perturbation{kind, {layer}};
      const nn::PerturbedPass pass(perturbation);
      CATCH_CHECK(gap(made.network(x, told), output) > 1e-4);
    }
  Pvcnn2Options without = small();
  without.attends = false;
  CATCH_CHECK(InDouble(without).network.attention_layers() == 0);
}

CATCH_TEST_CASE("pvcnn2 drops features while it trains and only then", "[points][pvcnn2]") {
  const c10::NoGradGuard no_grad;
  InDouble made(small());
  made.fill();
  const at::Tensor x = scattered({2, 3, 40}, 2.0);
  const nn::Told told{at::tensor({30.0, 700.0}, at::kDouble)};
  const at::Tensor output = made.network(x, told);
  CATCH_CHECK(at::equal(made.network(x, told), output));
  const auto trained = [&](std::uint64_t seed) {
    const nn::TrainingPass pass(seed, 0);
    return made.network(x, told);
  };
  CATCH_CHECK(gap(trained(1), output) > 1e-3);
  CATCH_CHECK(gap(trained(1), trained(2)) > 1e-3);
  CATCH_CHECK(at::equal(trained(1), trained(1)));
}

CATCH_TEST_CASE("pvcnn2 refuses clouds and radii that it cannot work on", "[points][pvcnn2]") {
  const auto refusal = [](const std::string& yaml, const DataSpec& spec) {
    return message_of<ConfigError>([&] { fresh(yaml, spec); });
  };
  CATCH_CHECK(refusal("{type: pvcnn2}", {{3, 7}, 0}).find("8 points or more") != std::string::npos);
  CATCH_CHECK(refusal("{type: pvcnn2}", {{2, 64}, 0}).find("[3 or more, points]") != std::string::npos);
  CATCH_CHECK(refusal("{type: pvcnn2}", {{3, 8, 8}, 0}).find("[3 or more, points]") != std::string::npos);
  CATCH_CHECK(refusal("{type: pvcnn2, radii: [0.1, 0.2]}", {{3, 64}, 0}).find("needs 4, one for each stage, got 2") !=
              std::string::npos);
  CATCH_CHECK(refusal("{type: pvcnn2, radii: [0.1, 0.2, 0.4, 0]}", {{3, 64}, 0}).find("radii") != std::string::npos);
  CATCH_CHECK(refusal("{type: pvcnn2, exact: lion}", {{3, 64}, 0}).find("pvd") != std::string::npos);
  Parameters parameters(1);
  Pvcnn2Options options = small();
  options.radii = {0.1};
  CATCH_CHECK(message_of<ConfigError>([&] { Pvcnn2(Scope(parameters), options); }).find("needs 4, got 1") !=
              std::string::npos);
}
