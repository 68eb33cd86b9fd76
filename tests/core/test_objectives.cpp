// What papers add to denoising score matching, each by its law and by being nothing when it is off.

#include <unistd.h>
#include <cmath>
#include <filesystem>
#include <functional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/checkpoint.h"
#include "core/math/philox.h"
#include "core/optimizer.h"
#include "core/trainer.h"
#include "core/uncertainty.h"
#include "tests/catch.h"

using namespace thaw;
namespace fs = std::filesystem;

namespace {

/// A network that is a function, and keeps what it was given last.
class Probe : public Backbone {
 public:
  using Formula = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& weight)>;
  explicit Probe(Formula formula) : formula_(std::move(formula)) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition& condition) const override {
    seen.push_back(x.detach().clone());
    const auto found = condition.find("estimate");
    estimates.push_back(found == condition.end() ? at::Tensor() : found->second.clone());
    return formula_(x, weight);
  }
  const Parameters& parameters() const override { return parameters_; }
  bool learns_variance() const override { return has_variance; }
  bool takes_estimate() const override { return has_estimate; }

  bool has_variance = false, has_estimate = false;
  mutable std::vector<at::Tensor> seen, estimates;

 private:
  Formula formula_;
  Parameters parameters_{1};

 public:
  at::Tensor weight = parameters_.add("w", {1}, Init::ones());
};

const Probe::Formula kZero = [](const at::Tensor& x, const at::Tensor& weight) { return x * 0.0 * weight; };
const Probe::Formula kHalf = [](const at::Tensor& x, const at::Tensor& weight) { return x * 0.5 * weight; };

SchedulePtr schedule(const char* name) {
  ScheduleRegistry registry("schedule");
  register_schedules(registry);
  return registry.create(Config::parse("{}", "t"), name);
}

struct Fixture {
  Probe* probe = nullptr;
  Model model;

  explicit Fixture(Probe::Formula formula, const char* process = "cosine", Prediction prediction = Prediction::kV) {
    auto backbone = std::make_unique<Probe>(std::move(formula));
    probe = backbone.get();
    Parameterisation p;
    p.schedule = schedule(process);
    p.prediction = prediction;
    model = Model{.spec = {{2, 2, 2}, 0},
                  .parameterisation = p,
                  .backbone = std::move(backbone),
                  .device = c10::Device(c10::kCPU),
                  .precision = Precision::kFloat32};
  }
  void learn_variance() { probe->has_variance = model.parameterisation.learns_variance = true; }
};

ObjectivePtr denoising(const std::string& yaml) {
  ObjectiveRegistry registry("objective");
  register_objectives(registry);
  WeightingRegistry weightings("weighting");
  register_weightings(weightings);
  LevelSamplerRegistry levels("level sampler");
  register_level_samplers(levels);
  const Config section = Config::parse(yaml, "t");
  return registry.create(section, "denoising", {weightings, levels, {}, {}}, section);
}

at::Tensor normals(at::IntArrayRef shape, std::uint64_t seed) {
  at::Tensor x = at::empty(shape);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther});
  return x;
}

at::Tensor loss(const std::string& yaml, const Fixture& on, const at::Tensor& x0) {
  return denoising(yaml)->loss(on.model, x0, {}, {.seed = 3, .step = 4, .batch = x0.size(0)});
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

CATCH_TEST_CASE("extras that are off leave the loss of the paper to the bit", "[core][objective]") {
  Fixture on(kHalf);
  const at::Tensor x0 = normals({8, 2, 2, 2}, 1);
  const at::Tensor found = loss("{}", on, x0);
  // Written out from x, which shows alpha x0 + sigma eps, and the levels drawn.
  const LevelSampler levels = [] {
    LevelSamplerRegistry registry("level sampler");
    register_level_samplers(registry);
    return registry.create(Config::parse("{}", "t"), "uniform");
  }();
  const NoisedBatch batch = noised_batch(on.model, x0, {}, levels, 0.0, {.seed = 3, .step = 4, .batch = 8});
  std::vector<double> on_x0, on_eps;
  for (const Level& level : batch.levels) on_x0.push_back(-level.sigma), on_eps.push_back(level.alpha);
  const at::Tensor target = x0 * per_sample(on_x0, x0) + batch.eps * per_sample(on_eps, x0);
  const at::Tensor expected = (on.probe->seen.back() * 0.5 - target).square().flatten(1).mean(1);
  CATCH_CHECK(at::equal(found, expected));
  for (const char* same : {"{offset_noise: 0}", "{input_perturbation: 0}", "{distance: squared, huber: 0.1}",
                           "{uncertainty: learned}", "{self_conditioning: 1}"}) {
    CATCH_CAPTURE(same);
    CATCH_CHECK(at::equal(loss(same, on, x0), found));
  }
}

CATCH_TEST_CASE("offset noise has the covariance I + s^2 within a channel and none across", "[core][objective]") {
  Fixture on(kZero, "linear", Prediction::kNoise);
  constexpr std::int64_t kSamples = 20000;
  loss("{offset_noise: 0.7, levels: timesteps}", on, at::zeros({kSamples, 2, 2, 2}));
  // x = sigma eps; the levels go round the table, so each sample is brought to unit scale by its own sigma.
  LevelSamplerRegistry registry("level sampler");
  register_level_samplers(registry);
  const LevelSampler levels = registry.create(Config::parse("{}", "t"), "timesteps");
  std::vector<double> scale;
  for (std::int64_t i = 0; i < kSamples; ++i)
    scale.push_back(1 /
                    levels(*on.model.parameterisation.schedule, {.seed = 3, .step = 4, .batch = kSamples}, i).sigma);
  const at::Tensor x = on.probe->seen.back(), eps = (x * per_sample(scale, x)).flatten(1).to(at::kDouble);
  const at::Tensor covariance = eps.t().mm(eps) / static_cast<double>(kSamples);
  const double shared = 0.49;
  const at::Tensor block = at::eye(4, at::kDouble) + shared;
  const at::Tensor expected = at::block_diag({block, block});
  // n = 20000: a variance of 1.49 is known to 1.49 sqrt(2 / n) = 0.015; five of them.
  CATCH_CHECK((covariance - expected).abs().max().item<double>() < 0.075);
}

CATCH_TEST_CASE("input perturbation makes the input noisier and leaves the target alone", "[core][objective]") {
  Fixture plain(kZero, "linear", Prediction::kNoise), noisy(kZero, "linear", Prediction::kNoise);
  const at::Tensor x0 = at::zeros({4000, 2, 2, 2});
  const at::Tensor a = loss("{}", plain, x0), b = loss("{input_perturbation: 0.5}", noisy, x0);
  CATCH_CHECK(at::equal(a, b));  // F = 0: the loss is the target's own size
  const at::Tensor more = noisy.probe->seen.back() - plain.probe->seen.back();
  // eps and the perturbation are independent: variances 1 and 1/4 of the same sigma^2, whatever the level.
  const double ratio = more.square().sum().item<double>() / plain.probe->seen.back().square().sum().item<double>();
  CATCH_CHECK(ratio == Catch::Approx(0.25).epsilon(0.05));  // 32000 numbers: 5 sqrt(4 / 32000)
  const double correlation =
      (more * plain.probe->seen.back()).sum().item<double>() / plain.probe->seen.back().square().sum().item<double>();
  CATCH_CHECK(std::abs(correlation) < 0.02);
}

CATCH_TEST_CASE("huber distances are the square where errors are small and lines where they are large",
                "[core][objective]") {
  const at::Tensor small = at::tensor({-1e-3, 2e-3, 0.0}, at::kDouble), large = at::tensor({-40.0, 90.0}, at::kDouble);
  for (const Distance kind : {Distance::kHuber, Distance::kPseudoHuber}) {
    CATCH_CHECK(at::allclose(distance_of(small, kind, 0.5), small.square(), 1e-5, 0));
    const at::Tensor value = distance_of(large, kind, 0.5);
    // Huber: 2 c |e| - c^2; pseudo-Huber: 2 c (sqrt(e^2 + c^2) - c).
    const double line = 2 * 0.5 * 40.0, offset = kind == Distance::kHuber ? 0.25 : 0.5;
    CATCH_CHECK(value[0].item<double>() == Catch::Approx(line - offset).margin(4e-3));
    CATCH_CHECK(value[1].item<double>() == Catch::Approx(2 * 0.5 * 90.0 - offset).margin(4e-3));
  }
  CATCH_CHECK(at::equal(distance_of(large, Distance::kSquared, 0.5), large.square()));
  Fixture on(kHalf);
  const at::Tensor x0 = normals({8, 2, 2, 2}, 1);
  CATCH_CHECK((loss("{distance: huber, huber: 0.1}", on, x0) < loss("{}", on, x0)).all().item<bool>());
}

CATCH_TEST_CASE("a learned uncertainty settles where e^u is the loss of its level", "[core][objective]") {
  LearnedUncertainty u(1);
  const std::vector<Level> levels{variance_preserving().at(-3.0), variance_preserving().at(0.0),
                                  variance_preserving().at(4.0)};
  const at::Tensor losses = at::tensor({0.1f, 1.0f, 5.0f});
  CATCH_CHECK(at::equal(u(levels).detach(), at::zeros({3})));
  AdamW optimizer(u.parameters(), {});
  for (std::int64_t step = 0; step < 600; ++step) {
    const at::Tensor value = u(levels);
    (losses * (-value).exp() + value).sum().backward();
    optimizer.step(0.05, step + 1, at::zeros({}));
    optimizer.zero_gradients();
  }
  CATCH_CHECK(at::allclose(u(levels).detach().exp(), losses, 0.05));
  const std::vector<Level> ends{{0.0, 1.0}, {1.0, 0.0}};
  CATCH_CHECK(at::isfinite(u(ends)).all().item<bool>());
}

namespace {

class Numbers : public Dataset {
 public:
  std::int64_t size() const override { return 64; }
  Example get(std::int64_t index) const override {
    return {normals({2, 2, 2}, 100 + static_cast<std::uint64_t>(index)), {}};
  }
};

class Identity : public Codec {
 public:
  at::Tensor encode(const at::Tensor& raw_N) const override { return raw_N; }
  at::Tensor decode(const at::Tensor& x_N) const override { return x_N; }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& shape) const override { return shape; }
  std::string sheet_png(const at::Tensor&, std::int64_t) const override { return ""; }
  void write(const at::Tensor&, const fs::path&, const std::string&, std::int64_t) const override {}
};

// All that a training ends with, by name.
NamedTensors trained(const fs::path& folder, std::uint64_t breaks_at, std::int64_t micro_batch) {
  Fixture on([=, calls = std::make_shared<std::uint64_t>(0)](const at::Tensor& x, const at::Tensor& weight) {
    if (breaks_at > 0 && ++*calls > breaks_at) throw std::runtime_error("killed");
    return x * weight;
  });
  TrainJob job;
  job.model = &on.model;
  job.objective = denoising(
      "{uncertainty: learned, levels: {type: loss_second_moment, bins: 4, history: 2, refresh: 2}, weighting: snr}");
  job.dataset = std::make_shared<Numbers>();
  job.codec = std::make_shared<Identity>();
  job.seed = 7;
  job.steps = 12;
  job.batch = 16;
  job.micro_batch = micro_batch;
  job.log_every = 1000;
  job.checkpoint_every = 3;
  job.folder = folder;
  job.config_hash = "hash";
  thaw::train(job);
  return load_newest_checkpoint(folder / "checkpoints", "hash").value().tensors;
}

}  // namespace

CATCH_TEST_CASE("learned weights of levels go on from a checkpoint to the bit", "[core][objective][resume]") {
  const fs::path root = fs::temp_directory_path() / ("thaw_objectives_" + std::to_string(::getpid()));
  fs::remove_all(root);
  const NamedTensors whole = trained(root / "whole", 0, 0);
  CATCH_CHECK_THROWS_WITH(trained(root / "broken", 7, 0), "killed");
  const NamedTensors broken = trained(root / "broken", 0, 0);
  CATCH_REQUIRE(whole.size() == broken.size());
  int own = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CATCH_CAPTURE(whole[i].first);
    CATCH_CHECK(whole[i].first == broken[i].first);
    CATCH_CHECK(at::equal(whole[i].second, broken[i].second));
    if (whole[i].first == "objective.level_shares") {
      ++own;
      CATCH_CHECK_FALSE(at::equal(whole[i].second, at::full({4}, 0.25, at::kDouble)));  // it has learned
    }
    if (whole[i].first == "model.objective.uncertainty.weight") {
      ++own;
      CATCH_CHECK(whole[i].second.abs().max().item<double>() > 0);
    }
  }
  CATCH_CHECK(own == 2);
  // Parts of a batch are noted as the whole batch is.
  for (const auto& [name, tensor] : trained(root / "parts", 0, 5))
    if (name == "objective.level_counts") CATCH_CHECK(tensor.sum().item<std::int64_t>() == 12 * 16);
  fs::remove_all(root);
}

namespace {

// On twice the channels: the weight makes the prediction, or v.
const Probe::Formula kMean = [](const at::Tensor& x, const at::Tensor& weight) {
  return at::cat({x * 0.25 * weight, at::full_like(x, 0.3)}, 1);
};
const Probe::Formula kVariance = [](const at::Tensor& x, const at::Tensor& weight) {
  return at::cat({x * 0.25, at::full_like(x, 0.3) * weight}, 1);
};

}  // namespace

CATCH_TEST_CASE("the hybrid loss is the simple one and its share of the bound, the mean stopped",
                "[core][objective][variance]") {
  const at::Tensor x0 = normals({32, 2, 2, 2}, 2) * 0.3;
  const auto bound_gradient = [&](const Probe::Formula& formula) {
    Fixture on(formula, "linear", Prediction::kNoise);
    on.learn_variance();
    const at::Tensor bound =
        loss("{variance: learned, vlb_weight: 1}", on, x0) - loss("{variance: learned, vlb_weight: 0}", on, x0);
    CATCH_CHECK(bound.abs().min().item<double>() > 0);
    bound.sum().backward();
    return on.probe->weight.grad().item<double>();
  };
  // The two simple losses cancel but for the rounding of sums of 256.
  const double on_mean = bound_gradient(kMean), on_variance = bound_gradient(kVariance);
  CATCH_CHECK(std::abs(on_mean) < 1e-4);
  CATCH_CHECK(std::abs(on_variance) > 1e-2);

  Fixture on(kVariance, "linear", Prediction::kNoise),
      plain([](const at::Tensor&x, const at::Tensor&) { return x * 0.25; }, "linear", Prediction::kNoise);
  on.learn_variance();
  const at::Tensor simple = loss("{variance: learned, vlb_weight: 0}", on, x0);
  CATCH_CHECK(at::allclose(simple, loss("{levels: timesteps}", plain, x0), 1e-6, 1e-7));
  const at::Tensor one = loss("{variance: learned, vlb_weight: 0.001}", on, x0) - simple,
                   two = loss("{variance: learned, vlb_weight: 0.002}", on, x0) - simple;
  CATCH_CHECK(at::allclose(two, one * 2, 1e-3, 1e-6));
}

CATCH_TEST_CASE("a network that takes an estimate sees its own, of zeros, in its share of the steps",
                "[core][objective][self_conditioning]") {
  Fixture on(kHalf);
  on.probe->has_estimate = true;
  const at::Tensor x0 = normals({4, 2, 2, 2}, 1);
  loss("{self_conditioning: 1}", on, x0);
  CATCH_REQUIRE(on.probe->seen.size() == 2);
  CATCH_CHECK_FALSE(on.probe->estimates[0].defined());
  // v prediction: D = alpha x - sigma F with F = x / 2, on the levels of the batch; x is the same in both calls.
  CATCH_CHECK(at::equal(on.probe->seen[0], on.probe->seen[1]));
  const at::Tensor ratio = (on.probe->estimates[1] / on.probe->seen[1]).flatten(1);
  CATCH_CHECK(at::allclose(ratio, ratio.narrow(1, 0, 1).expand_as(ratio), 1e-4, 1e-5));
  loss("{self_conditioning: 0}", on, x0);
  CATCH_CHECK(on.probe->seen.size() == 3);
  int twice = 0;
  const ObjectivePtr half = denoising("{}");
  for (std::uint64_t step = 0; step < 400; ++step) {
    on.probe->seen.clear();
    half->loss(on.model, x0, {}, {.seed = 3, .step = step, .batch = 4});
    twice += on.probe->seen.size() == 2 ? 1 : 0;
  }
  CATCH_CHECK(std::abs(twice - 200) < 50);  // five standard errors of 10
}

CATCH_TEST_CASE("while sampling a network sees the estimate of the query before, and lanes are refused",
                "[core][objective][self_conditioning]") {
  Fixture on(kHalf);
  on.probe->has_estimate = true;
  const Denoiser denoiser = on.model.denoiser({});
  const Latent x = Latent::of(normals({3, 2, 2, 2}, 1));
  const at::Tensor first = denoiser(x, {.at = variance_preserving().at(-1.0)})[0].data.main();
  const at::Tensor second = denoiser(x, {.at = variance_preserving().at(0.0)})[0].data.main();
  denoiser(x, {.at = variance_preserving().at(1.0)});
  CATCH_REQUIRE(on.probe->estimates.size() >= 3);
  const std::size_t n = on.probe->estimates.size();
  CATCH_CHECK(at::equal(on.probe->estimates[n - 3], at::zeros_like(x.main())));
  CATCH_CHECK(at::equal(on.probe->estimates[n - 2], first));
  CATCH_CHECK(at::equal(on.probe->estimates[n - 1], second));
  // A new trajectory knows nothing of the last one.
  on.model.denoiser({})(x, {.at = variance_preserving().at(0.0)});
  CATCH_CHECK(at::equal(on.probe->estimates.back(), at::zeros_like(x.main())));
  Query lanes{.at = {std::nan(""), std::nan("")}};
  lanes.lanes = {variance_preserving().at(0.0), variance_preserving().at(1.0), variance_preserving().at(2.0)};
  CATCH_CHECK(refusal([&] { denoiser(x, lanes); }).starts_with("backbone.self_conditioning"));
}

CATCH_TEST_CASE("a learned variance is refused before training where it cannot be learned",
                "[core][objective][variance][errors]") {
  Fixture table(kVariance, "linear"), continuous(kVariance, "cosine");
  CATCH_CHECK(refusal([&] {
                expect_serves(*denoising("{variance: learned}"), table.model);
              }).starts_with("objective.variance: \"learned\" needs a backbone with twice the channels"));
  table.learn_variance();
  continuous.learn_variance();
  CATCH_CHECK(refusal([&] { expect_serves(*denoising("{}"), table.model); }).starts_with("backbone.learns_variance"));
  CATCH_CHECK(refusal([&] { expect_serves(*denoising("{variance: learned}"), table.model); }).empty());
  CATCH_CHECK(refusal([&] {
                denoising("{variance: learned, levels: uniform}")->prepare(continuous.model);
              }).starts_with("objective.variance: \"learned\" lies between two neighbours of a schedule's table"));
  CATCH_CHECK(refusal([&] {
                denoising("{variance: learned, levels: uniform}")->prepare(table.model);
              }).starts_with("objective.levels: a learned variance is trained at the timesteps"));
  CATCH_CHECK(refusal([&] { denoising("{variance: learned}")->prepare(table.model); }).empty());
  CATCH_CHECK(refusal([&] {
                denoising("{levels: timesteps}")->prepare(continuous.model);
              }).starts_with("objective.levels: \"timesteps\" needs"));
}
