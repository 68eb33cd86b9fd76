// The shipped feature network of moving digits: its card, and what its Frechet distance sees.

#include <cmath>

#include <ATen/ATen.h>

#include "core/math/philox.h"
#include "core/metrics/frechet.h"
#include "experiments/evaluation.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"

using namespace thaw;

namespace {

const std::string kModel = "models/moving_digit_features";

// The frames of each clip in an order of its own.
at::Tensor shuffled(const at::Tensor& raw_NCTHW) {
  std::vector<at::Tensor> clips;
  for (std::int64_t n = 0; n < raw_NCTHW.size(0); ++n) {
    const NoiseKey key{11, Purpose::kOther, static_cast<std::uint64_t>(n), 0, 0};
    std::vector<double> keys;
    for (std::int64_t t = 0; t < raw_NCTHW.size(2); ++t) keys.push_back(uniform(key, static_cast<std::uint64_t>(t)));
    clips.push_back(raw_NCTHW[n].index_select(1, at::tensor(keys, at::kDouble).argsort()));
  }
  return at::stack(clips);
}

}  // namespace

CATCH_TEST_CASE("the shipped feature network names digit and direction as its card says", "[video][models]") {
  const Catalog catalog = make_catalog();
  const LoadedModel loaded = open_model(kModel, catalog, {"device=cpu", "dataset.size=400"});
  const std::string card = read_file(kModel + "/card.md"), key = "| accuracy | ";
  const std::size_t at = card.find(key);
  CATCH_REQUIRE(at != std::string::npos);
  const double expected = std::stod(card.substr(at + key.size()));
  const double accuracy = measure_accuracy(*loaded.experiment, loaded.model)["accuracy"];
  // 400 of the card's clips: four standard errors.
  CATCH_CHECK(accuracy == Catch::Approx(expected).margin(4 * std::sqrt(expected * (1 - expected) / 400) + 1e-3));
}

CATCH_TEST_CASE("the Frechet distance tells real clips from the same clips out of order", "[video][models]") {
  const Catalog catalog = make_catalog();
  const LoadedModel loaded = open_model(kModel, catalog, {"device=cpu"});
  const TrainedClassifierPtr network = open_classifier(catalog, kModel, kModel);
  const DatasetPtr data = loaded.experiment->held_out();
  std::vector<std::int64_t> first, second;
  for (std::int64_t i = 0; i < 300; ++i) first.push_back(i), second.push_back(300 + i);
  const at::Tensor reference = network->features(gather(*data, first).data), real = gather(*data, second).data;
  const double alike = frechet_distance(network->features(real), reference);
  const double out_of_order = frechet_distance(network->features(shuffled(real)), reference);
  CATCH_CAPTURE(alike, out_of_order);
  CATCH_CHECK(out_of_order > 3 * alike);
}
