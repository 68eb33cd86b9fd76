// Sets that are drawn at the size the network knows and grown to a larger one.

#include <cmath>

#include <ATen/ATen.h>

#include "core/checkpoint.h"
#include "experiments/sampling.h"
#include "experiments/trace.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"

using namespace thaw;
using namespace thaw::test;

namespace {

constexpr double kShared = 0.8, kOwn = 0.2;  // variances: of what the points of a set share, of each beside it

/// What a perfect network that has seen sets of `size` points makes of sets of any size. Points are m + e_k, both
/// normal, so that the mean y of the noisy ones tells m with the noise (alpha^2 kOwn + sigma^2) / size; of more points
/// the network believes no more.
class SetExpert : public Backbone {
 public:
  explicit SetExpert(std::int64_t size) : size_(static_cast<double>(size)) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) const override { return x; }
  at::Tensor exact_x0(const at::Tensor& x_NCK, const Level& level) const override {
    const double a = level.alpha, own = a * a * kOwn + level.sigma * level.sigma;
    const at::Tensor mean = x_NCK.mean(2, true);
    const at::Tensor shared = mean * (a * kShared / (a * a * kShared + own / size_));
    return shared + (x_NCK - shared * a) * (a * kOwn / own);
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  double size_;
  Parameters parameters_{0};
};

struct Fixture {
  Model model;
  SampleRequest request;
  Fixture(std::int64_t known, std::int64_t drawn, std::int64_t n, std::int64_t steps) {
    static const Catalog catalog = make_catalog();
    model.spec = {{3, drawn}, 0};
    model.parameterisation.prediction = Prediction::kData;
    model.parameterisation.schedule = catalog.schedules.create(Config::parse("lambda_min: -10", "t"), "cosine");
    model.backbone = std::make_unique<SetExpert>(known);
    request.solver = catalog.samplers.create(Config::empty(), "dpmpp_2m");
    request.grid = catalog.grids.create(Config::parse(concat("steps: ", steps), "t"), "uniform_lambda",
                                        *model.parameterisation.schedule);
    request.guidance = weighted_branches([](const Level&) { return classifier_free_weights(1.0); });
    request.micro_batch = 50;
    request.is_double = true;
    for (std::int64_t i = 0; i < n; ++i) request.samples.push_back(static_cast<std::uint64_t>(i));
  }
};

/// Variance over sets of the mean of their points, and mean over sets of the variance of these.
std::pair<double, double> variances(const at::Tensor& x_NCK) {
  const at::Tensor mean = x_NCK.mean(2);
  return {mean.square().mean().item<double>(), (x_NCK - mean.unsqueeze(2)).square().mean().item<double>()};
}

}  // namespace

CATCH_TEST_CASE("a set drawn larger than the network knows varies too little, and one that grows varies as it should",
                "[experiments][growth]") {
  constexpr std::int64_t kKnown = 16, kDrawn = 256, kSets = 400;
  const Fixture on(kKnown, kDrawn, kSets, 80);
  // The mean over 3 kSets numbers of variance v is off by v sqrt(2 / (3 kSets)).
  const double tolerance = 4 * kShared * std::sqrt(2.0 / (3.0 * kSets));
  const auto [at_once, own] = variances(sample_all(on.model, on.request));
  CATCH_CHECK(at_once < 0.5 * kShared);
  CATCH_CHECK(std::abs(own - kOwn) < 0.02);

  SampleRequest growing = on.request;
  growing.growth = {kKnown, 0.5};
  const at::Tensor grown = sample_all(on.model, growing);
  CATCH_CHECK(grown.sizes() == at::IntArrayRef({kSets, 3, kDrawn}));
  const auto [shared, beside] = variances(grown);
  // The mean of the few points that it grew from stays.
  CATCH_CHECK(std::abs(shared - (kShared + kOwn / kKnown)) < tolerance);
  CATCH_CHECK(std::abs(beside - kOwn) < 0.02);
}

CATCH_TEST_CASE("what grows is the same in any micro-batch, and sets no larger than grown_from are drawn at once",
                "[experiments][growth]") {
  Fixture on(8, 20, 5, 4);
  on.request.growth = {8, 0.5};
  on.request.micro_batch = 5;
  std::int64_t evaluations = 0;
  sample(on.model, on.request, [&](const at::Tensor&, std::int64_t count) { evaluations = count; });
  CATCH_CHECK(evaluations == 4 + 2);
  const at::Tensor all = sample_all(on.model, on.request);
  const SampleRequest last = part_of(on.request, 3, 2);
  CATCH_CHECK(last.first == 3);
  CATCH_CHECK(at::equal(sample_all(on.model, last), all.narrow(0, 3, 2)));
  // Noise of the first length grows as well; noise of the last one is the sample's own.
  on.request.noise = at::ones({5, 3, 8}, at::kDouble);
  CATCH_CHECK(sample_all(on.model, on.request).size(2) == 20);
  CATCH_CHECK(grows(on.request, 20));
  CATCH_CHECK_FALSE(grows(on.request, 8));
  on.request.noise = at::ones({5, 3, 20}, at::kDouble);
  CATCH_CHECK_FALSE(grows(on.request, 20));
  const at::Tensor from_noise = sample_all(on.model, on.request);
  on.request.growth.from = 20;
  CATCH_CHECK(at::equal(sample_all(on.model, on.request), from_noise));
  on.request.growth.from = 8;
  on.request.noise = at::Tensor();
  on.request.given = {at::zeros({1, 3, 20}), at::ones({1, 1, 20})};
  CATCH_CHECK_THROWS_WITH(
      sample_all(on.model, on.request),
      Catch::Equals("sampling.grown_from: a given part is for samples of one length. Use sampling.grown_from=0."));
}

CATCH_TEST_CASE("both runs of what grows have noise of their own, stochastic samplers too", "[experiments][growth]") {
  for (const char* sampler : {"ddim", "ddpm"}) {
    CATCH_CAPTURE(sampler);
    static const Catalog catalog = make_catalog();
    Fixture on(8, 9, 3, 6);
    on.request.solver = catalog.samplers.create(Config::empty(), sampler);
    on.request.growth = {8, 1.0};
    on.request.micro_batch = 3;
    Trace trace;
    on.request.trace = &trace;
    const at::Tensor all = sample_all(on.model, on.request);
    const Scratch scratch("growth_noise");
    trace.save(scratch / "t.safetensors");
    at::Tensor x;
    for (const auto& [name, tensor] : load_tensors(scratch / "t.safetensors").tensors)
      if (name == "x") x = tensor;
    // From noise alone: what both runs begin with is their noise, of one scale.
    const at::Tensor first = x[0].narrow(2, 0, 8), second = x[7].narrow(2, 0, 8);
    const double alike = at::cosine_similarity(first.flatten(), second.flatten(), 0).item<double>();
    CATCH_CHECK(std::abs(alike) < 5 / std::sqrt(3.0 * 3 * 8));
    on.request.trace = nullptr;
    CATCH_CHECK(at::equal(sample_all(on.model, part_of(on.request, 2, 1)), all.narrow(0, 2, 1)));
  }
}

CATCH_TEST_CASE("a part of a request has its own rows of everything", "[experiments][sampling]") {
  Fixture on(8, 8, 4, 2);
  SampleRequest& request = on.request;
  request.labels = {0, 1, 2, 3};
  request.captions = {"a", "b", "c", "d"};
  const at::Tensor rows = at::arange(4, at::kFloat).reshape({4, 1, 1}).expand({4, 3, 8});
  request.noise = request.coarse = request.told_of = request.editing.known = request.editing.mask = rows;
  request.given = {rows, rows.narrow(0, 0, 1)};
  request.condition["seconds"] = request.null["seconds"] = at::arange(4, at::kFloat);
  const SampleRequest part = part_of(part_of(request, 1, 3), 1, 1);
  CATCH_CHECK(part.first == 2);
  CATCH_CHECK(part.samples == std::vector<std::uint64_t>{2});
  CATCH_CHECK(part.labels == std::vector<std::int64_t>{2});
  CATCH_CHECK(part.captions == std::vector<std::string>{"c"});
  for (const at::Tensor& own : {part.noise, part.coarse, part.told_of, part.editing.known, part.editing.mask,
                                part.given.data, part.condition.at("seconds"), part.null.at("seconds")}) {
    CATCH_REQUIRE(own.size(0) == 1);
    CATCH_CHECK(own.flatten()[0].item<float>() == 2.0F);
  }
  CATCH_CHECK(part.given.mask.flatten()[0].item<float>() == 0.0F);  // one row for all
}

CATCH_TEST_CASE("the program grows clouds, traces both runs and refuses what cannot grow", "[experiments][growth]") {
  const Scratch scratch("growth");
  const std::string model = "sample models/shapes n=2 steps=4 sampler=ddim guidance=cfg sampling.micro_batch=2 ";
  const std::string lengths = "sampling.length=96 sampling.grown_from=32 sampling.growth=0.5 ";
  const std::string trace = scratch / "trace.safetensors", out = scratch / "x.safetensors";
  const Outcome grown = run_program(model + lengths + "trace=" + trace + " out=" + out, scratch);
  CATCH_CAPTURE(grown.err);
  CATCH_REQUIRE(grown.code == 0);
  at::Tensor x, states, estimates;
  for (const auto& [name, tensor] : load_tensors(out).tensors)
    if (name == "sample") x = tensor;
  for (const auto& [name, tensor] : load_tensors(trace).tensors) {
    if (name == "x") states = tensor;
    if (name == "denoised") estimates = tensor;
  }
  CATCH_CHECK(x.sizes() == at::IntArrayRef({2, 3, 96}));
  CATCH_CHECK(states.sizes() == at::IntArrayRef({5 + 3, 2, 3, 96}));
  CATCH_CHECK(estimates.sizes() == at::IntArrayRef({4 + 2, 2, 3, 96}));
  CATCH_CHECK(at::equal(states[7], x));
  CATCH_CHECK(at::equal(states[4].select(2, 0), states[4].select(2, 2)));  // three of each
  const Outcome between = run_program(model + lengths + "between=0,1 out=" + out, scratch);
  CATCH_CAPTURE(between.err);
  CATCH_CHECK(between.code == 0);
  // What starts from given data is as long as it, and so is the noise between two samples.
  const std::string init = "init=" + out + " strength=0.5 between=0,1 out=" + (scratch / "y.safetensors").string();
  const Outcome edited = run_program(model + lengths + init, scratch);
  CATCH_CAPTURE(edited.err);
  CATCH_CHECK(edited.code == 0);
  const Outcome refused = run_program("sample models/digits n=1 sampling.grown_from=5 out=" + out, scratch);
  CATCH_CHECK(refused.code == 2);
  CATCH_CHECK_THAT(refused.err, Catch::Contains("sampling.grown_from: 5: this network draws no samples of [1, 5, 28]"));
}
