// Distributions of numbers that are compared, and samples that are copies of training examples.

#include <cmath>
#include <set>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/identity_codec.h"
#include "core/math/philox.h"
#include "core/metrics/distributions.h"
#include "core/metrics/metric.h"
#include "core/metrics/spread.h"
#include "core/nn/parameters.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

at::Tensor normals(std::int64_t n, std::int64_t d, std::uint64_t seed) {
  at::Tensor x = at::empty({n, d}, at::kFloat);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther, 0, 0, 0});
  return x;
}

class Rows : public Dataset {
 public:
  explicit Rows(at::Tensor data_N) : data_N_(std::move(data_N)) {}
  std::int64_t size() const override { return data_N_.size(0); }
  Example get(std::int64_t index) const override { return {data_N_[index], {}}; }

 private:
  at::Tensor data_N_;
};

// Sees the data as it is.
class Plain : public Classifier {
 public:
  at::Tensor features(const at::Tensor& x) const override { return x; }
  at::Tensor logits(const at::Tensor& x) const override { return x; }
  std::vector<at::Tensor> layers(const at::Tensor& x) const override { return {x.unsqueeze(2)}; }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_{0};
};

// nearest_training of samples, by the data itself, with 400 training and 300 held-out examples of one normal.
Measured measure(const at::Tensor& samples, nlohmann::json* beside = nullptr) {
  MetricRegistry metrics("metric");
  register_metrics(metrics);
  CodecRegistry codecs("codec");
  register_identity_codec(codecs);
  const Config config = Config::parse("m: nearest_training\nc: identity", "test.yaml");
  auto model = std::make_shared<Model>();
  model->spec.shape = {4};
  model->backbone = std::make_unique<Plain>();
  MetricParts parts{Config::empty(), codecs.create(config.section("c"), "", CodecParts{})};
  parts.data = std::make_shared<Rows>(normals(400, 4, 1));
  parts.held_out = std::make_shared<Rows>(normals(300, 4, 2));
  parts.features = std::make_shared<TrainedClassifier>(TrainedClassifier{model, parts.codec, "plain", "itself"});
  const MetricPtr metric = metrics.create(config.section("m"), "", parts);
  if (beside != nullptr) *beside = metric->beside(samples.size(0));
  return metric->measure({.raw = samples});
}

}  // namespace

CATCH_TEST_CASE("the Wasserstein distance of a set and itself moved is the way moved", "[core][metrics]") {
  const std::vector<double> a{3.0, -1.0, 0.5, 9.0};
  std::vector<double> moved, doubled;
  for (const double x : a) moved.push_back(x - 2.5), doubled.push_back(x), doubled.push_back(x);
  CATCH_CHECK(wasserstein_distance(a, a) == 0.0);
  CATCH_CHECK(wasserstein_distance(a, moved) == Catch::Approx(2.5).margin(1e-14));
  CATCH_CHECK(wasserstein_distance(a, doubled) == Catch::Approx(0.0).margin(1e-14));
  CATCH_CHECK(wasserstein_distance({0.0}, {1.0, 3.0}) == Catch::Approx(2.0));
  CATCH_CHECK_THROWS_AS(wasserstein_distance({}, a), DataError);
  CATCH_CHECK_THROWS_AS(wasserstein_distance({NAN}, a), DataError);
  const Interval interval = wasserstein_interval(a, moved, 1);
  CATCH_CHECK(interval.low < 2.5);
  CATCH_CHECK(interval.high > 2.5);
}

CATCH_TEST_CASE("distances and precedences of sets are those of scipy", "[core][metrics]") {
  const nlohmann::json golden = nlohmann::json::parse(read_file("tests/golden/sound_measures.json"));
  CATCH_REQUIRE(golden["sets"].size() == 3);
  for (const auto& one : golden["sets"]) {
    std::vector<double> x, y;
    for (int i = 0; i < one["n"].get<int>(); ++i) x.push_back(std::sin(i * 12.9898) * one["scale"].get<double>());
    for (int i = 0; i < one["m"].get<int>(); ++i) y.push_back(std::sin(i * 78.233 + 0.5) + 0.1);
    CATCH_CHECK(wasserstein_distance(x, y) == Catch::Approx(one["wasserstein"].get<double>()).margin(1e-12));
    CATCH_CHECK(precedence(x, y).share == Catch::Approx(one["precedence"].get<double>()).margin(1e-12));
  }
  CATCH_CHECK(precedence({1.0, 2.0}, {1.0, 2.0}).share == 0.5);
  CATCH_CHECK(precedence({1.0}, {2.0}).share == 1.0);
  // Variance (n + m + 1) / (12 n m) of the share: 3 and 3 give 7 / 108.
  CATCH_CHECK(precedence({1, 2, 3}, {4, 5, 6}).z == Catch::Approx(0.5 / std::sqrt(7.0 / 108.0)));
}

CATCH_TEST_CASE("quantiles are linear between numbers, and histograms share one range", "[core][metrics]") {
  CATCH_CHECK(quantile_of({4.0, 1.0, 3.0, 2.0}, 0.5) == Catch::Approx(2.5));
  CATCH_CHECK(quantile_of({4.0, 1.0, 3.0, 2.0}, 1.0) == 4.0);
  const nlohmann::json found = histograms("x", {{"a", {0.0, 1.0, 1.9}}, {"b", {4.0}}}, 4);
  CATCH_CHECK(found["low"] == 0.0);
  CATCH_CHECK(found["high"] == 4.0);
  CATCH_CHECK(found["a"][0].get<double>() == Catch::Approx(1.0 / 3.0));
  CATCH_CHECK(found["a"][1].get<double>() == Catch::Approx(2.0 / 3.0));
  CATCH_CHECK(found["b"] == nlohmann::json({0.0, 0.0, 0.0, 1.0}));
}

CATCH_TEST_CASE("examples that stand for a set lie all over it", "[core][metrics]") {
  const Rows rows(at::arange(10, at::kFloat).view({10, 1}));
  const SpreadExamples some = spread_examples(rows, 4);
  CATCH_REQUIRE(some.indices.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto part = static_cast<double>(i);
    CATCH_CHECK(static_cast<double>(some.indices[i]) >= std::floor(2.5 * part));
    CATCH_CHECK(static_cast<double>(some.indices[i]) < 2.5 * (part + 1));
    CATCH_CHECK(some.batch.data[static_cast<std::int64_t>(i)].item<float>() == static_cast<float>(some.indices[i]));
  }
  const SpreadExamples all = spread_examples(rows, 99);
  CATCH_REQUIRE(all.indices.size() == 10);
  for (std::int64_t i = 0; i < 10; ++i) CATCH_CHECK(all.indices[static_cast<std::size_t>(i)] == i);
  // Classes that take turns: five of them, in a set that five divides.
  std::set<std::int64_t> classes;
  for (const std::int64_t index : spread_examples(Rows(at::zeros({1000, 1})), 40).indices) classes.insert(index % 5);
  CATCH_CHECK(classes.size() == 5);
}

CATCH_TEST_CASE("fresh draws of the data are no copies, slightly changed training examples are", "[core][metrics]") {
  nlohmann::json beside;
  const Measured fresh = measure(normals(200, 4, 3), &beside);
  CATCH_REQUIRE(fresh.figures.size() == 2);
  CATCH_CHECK(fresh.figures[0].value == Catch::Approx(beside["nearest_training_floor"].get<double>()).epsilon(0.1));
  CATCH_CHECK(fresh.figures[1].value < 0.05);
  CATCH_CHECK(fresh.more["memorisation"].get<std::string>().starts_with("no sign of copies: "));

  const at::Tensor training = normals(400, 4, 1);
  const Measured copied = measure(training.narrow(0, 100, 200) + 1e-3 * normals(200, 4, 4));
  CATCH_CHECK(copied.figures[0].value < 0.01);
  CATCH_CHECK(copied.figures[1].value == 1.0);
  CATCH_CHECK(copied.more["memorisation"].get<std::string>().starts_with("samples copy training examples: 100 %"));
  CATCH_CHECK(copied.per_sample["nearest_training_index"][7] == 107);
  CATCH_CHECK(copied.per_sample["nearest_training"].size() == 200);
}
