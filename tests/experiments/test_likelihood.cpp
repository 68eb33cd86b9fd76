// thaw nll, and a learned variance from configuration to samples.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;

CATCH_TEST_CASE("nll of exact Gaussian data is its entropy, by the flow and by the bound",
                "[experiments][likelihood]") {
  const Scratch scratch("nll");
  std::ofstream(scratch / "gaussian.yaml")
      << "precision: float64\nbackbone: {type: gaussian_mixture, weights: [1], means: [0], stds: [0.6], shape: [4, 2, "
         "2]}\n"
         "codec: identity\nschedule: {type: ve}\nobjective: {prediction: v}\nsampling: {micro_batch: 64}\n"
         "sampler: dpmpp_2m\ngrid: {steps: 40}\nguidance: none\n";
  const std::string config = scratch / "gaussian.yaml", samples = scratch / "x.npz";
  const Outcome made = run_program("sample " + config + " n=256 out=" + samples, scratch);
  CATCH_CAPTURE(made.err);
  CATCH_REQUIRE(made.code == 0);
  const Outcome found =
      run_program("nll " + config + " " + samples + " n=256 steps=64 bound_steps=2000 bound_draws=100 --json", scratch);
  CATCH_CAPTURE(found.err);
  CATCH_REQUIRE(found.code == 0);
  const nlohmann::json result = nlohmann::json::parse(found.out);
  const double entropy = 0.5 * std::log2(2 * std::numbers::pi * std::numbers::e * 0.36);
  for (const char* method : {"flow", "bound"}) {
    const double bits = result[method]["bits_per_dim"], error = result[method]["standard_error"];
    CATCH_CAPTURE(method, bits, error, entropy);
    CATCH_CHECK(result[method]["n"] == 256);
    CATCH_CHECK(error > 0.005);
    CATCH_CHECK(error < 0.05);
    // The sampler's own bias, and a chain of 2000 steps, which is above by 0.03 bits.
    CATCH_CHECK(std::abs(bits - entropy) < 5 * error + 0.06);
  }
}

CATCH_TEST_CASE("nll says what it cannot measure in one line", "[experiments][likelihood][errors]") {
  const Scratch scratch("nll_errors");
  const auto fails = [&](const std::string& arguments, int code, const std::string& text) {
    const Outcome outcome = run_program(arguments, scratch);
    CATCH_CAPTURE(arguments, outcome.err);
    CATCH_CHECK(outcome.code == code);
    CATCH_CHECK_THAT(outcome.err, Catch::Contains(text));
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  };
  fails("nll", 2, "thaw nll needs a model directory");
  fails("nll models/digits split=valid", 2, "split");
  fails("nll models/digits n=1", 2, "n: must be at least 2");
  fails("nll models/digits bound_steps=1", 2, "at least 2 steps");
  fails("nll models/digits data.txt", 2, "expected a .npz");
  fails("nll models/digit_judge", 3, "is a classifier");
}

CATCH_TEST_CASE("a learned variance goes from configuration to samples", "[experiments][variance]") {
  const Scratch scratch("variance");
  const std::string config = tiny_config(scratch).string(), run = scratch / "run";
  const std::string learned =
      " schedule=linear objective.variance=learned guidance=none train.preview_every=0 train.validate_every=6";
  const Outcome refused = run_program("train " + config + learned + " out=" + run, scratch);
  CATCH_CHECK(refused.code == 2);
  CATCH_CHECK_THAT(refused.err, Catch::Contains("set backbone.learns_variance: true"));
  const Outcome trained =
      run_program("train " + config + learned + " backbone.learns_variance=true out=" + run, scratch);
  CATCH_CAPTURE(trained.err);
  CATCH_REQUIRE(trained.code == 0);
  const std::string samples = scratch / "x.npz", small = scratch / "small.npz";
  const Outcome sampled =
      run_program("sample " + run + " n=4 steps=8 sampler=ddpm sampler.variance=learned out=" + samples, scratch);
  CATCH_CAPTURE(sampled.err);
  CATCH_REQUIRE(sampled.code == 0);
  CATCH_REQUIRE(run_program("sample " + run + " n=4 steps=8 sampler=ddpm out=" + small, scratch).code == 0);
  CATCH_CHECK(read_file(samples) != read_file(small));
  CATCH_CHECK(run_program("nll " + run + " n=4 steps=2 bound_draws=4", scratch).code == 0);
}

CATCH_TEST_CASE("levels that learn from losses are for objectives that take the correction", "[experiments][errors]") {
  const Scratch scratch("importance");
  const std::string config = tiny_config(scratch).string();
  const Outcome refused = run_program(
      "train " + config + " objective.type=easy_consistency_tuning objective.levels=loss_second_moment out=" +
          std::string(scratch / "run"),
      scratch);
  CATCH_CHECK(refused.code == 2);
  CATCH_CHECK_THAT(refused.err, Catch::Contains("learns from losses and corrects them"));
}
