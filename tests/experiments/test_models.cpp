// The shipped models against their cards.

#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "experiments/evaluation.h"
#include "experiments/sampling.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

double card_value(const std::string& model, const std::string& name) {
  const std::string card = read_file("models/" + model + "/card.md");
  const std::string key = "| " + name + " | ";
  const std::size_t at = card.find(key);
  CATCH_REQUIRE(at != std::string::npos);
  return std::stod(card.substr(at + key.size()));
}

}  // namespace

CATCH_TEST_CASE("the shipped classifiers name the test digits as their cards say", "[experiments][models]") {
  const Catalog catalog = make_catalog();
  for (const char* name : {"digit_features", "digit_judge"}) {
    CATCH_CAPTURE(name);
    const LoadedModel loaded = open_model(std::string("models/") + name, catalog, {"device=cpu"});
    const double accuracy = measure_accuracy(*loaded.experiment, loaded.model)["accuracy"];
    CATCH_CHECK(accuracy >= 0.99);
    // Half-precision weights against the float32 ones of the card: at most 3 of 10,000 digits change sides.
    CATCH_CHECK(accuracy == Catch::Approx(card_value(name, "accuracy")).margin(3e-4));
  }
}

CATCH_TEST_CASE("the shipped digit model draws what it is asked for", "[experiments][models]") {
  const Catalog catalog = make_catalog();
  const LoadedModel loaded =
      open_model("models/digits", catalog, {"device=cpu", "seed=977", "sampling.micro_batch=50"});
  Evaluator evaluator(*loaded.experiment);
  const SampleRequest request = make_request(*loaded.experiment, 50);
  const nlohmann::json measured =
      evaluator.measure(loaded.experiment->codec()->decode(sample_all(loaded.model, request)), request.labels);
  // n = 50 at the card's 0.995: 46 or fewer right has a probability below 2e-4.
  CATCH_CHECK(measured["class_agreement"] >= 0.94);
}

CATCH_TEST_CASE("the shipped model of moving digits shows the digit asked for", "[experiments][models][slow]") {
  const Catalog catalog = make_catalog();
  const LoadedModel loaded =
      open_model("models/moving-digits", catalog, {"device=cpu", "seed=977", "evaluate.metrics=[digit_recognised]"});
  Evaluator evaluator(*loaded.experiment);
  const SampleRequest request = make_request(*loaded.experiment, 20);
  const at::Tensor clips = loaded.experiment->codec()->decode(sample_all(loaded.model, request));
  const nlohmann::json measured =
      evaluator.measure(subject_of(*loaded.experiment, clips, request.labels, request.captions));
  // n = 20 at the card's 0.995: 17 or fewer right has a probability below 2e-4.
  CATCH_CHECK(measured["digit_recognised"] >= 0.88);
  CATCH_CHECK(card_value("moving-digits", "digit_recognised") >= 0.95);
}
