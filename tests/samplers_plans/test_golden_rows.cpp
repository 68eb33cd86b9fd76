// Plans written out by an independent implementation (float64 Python) on the variance-exploding grid
// sigma = 3, 2, 1.1, 0.5, 0.2: final x = in * x_in + sum of weights times D in the order of evaluation.
#include "tests/catch.h"

#include <vector>

#include "core/math/plan_analysis.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

struct GoldenRow {
  std::string sampler, options;
  double on_input;
  std::vector<double> on_data;
  double noise_variance = 0.0;
};

const std::vector<GoldenRow> kRows{
    {"ddim", "", 0.066666666667, {0.033333333333, 0.081818181818, 0.218181818182, 0.6}},
    {"euler", "", 0.066666666667, {0.033333333333, 0.081818181818, 0.218181818182, 0.6}},
    {"heun",
     "",
     0.066666666667,
     {0.008333333333, 0.025, 0.007438016529, 0.074380165289, -0.021818181818, 0.24, -0.15, 0.75}},
    {"dpmpp_2m", "", 0.066666666667, {-0.026984972049, -0.001738064078, 0.013417072803, 0.948639296658}},
    {"dpmpp_2m",
     "solver_type: heun",
     0.066666666667,
     {-0.032959558818, -0.014476932195, -0.020381522289, 1.001151346635}},
    {"ddim", "eta: 1", 0.004444444444, {0.005555555556, 0.023057851240, 0.126942148760, 0.84}, 0.039822222222},
    {"ddpm", "", 0.004444444444, {0.005555555556, 0.023057851240, 0.126942148760, 0.84}, 0.039822222222},
};

}  // namespace

CATCH_TEST_CASE("samplers have the golden rows of an independent implementation", "[samplers][golden]") {
  const Grid grid = make_grid(variance_exploding(), {{1, 3}, {1, 2}, {1, 1.1}, {1, 0.5}, {1, 0.2}});
  for (const GoldenRow& row : kRows) {
    CATCH_CAPTURE(row.sampler, row.options);
    const Tableau tableau = normal_form(make_solver(row.sampler, row.options)(grid));
    // The rows are printed with 12 digits.
    CATCH_CHECK(tableau.output.on_input == Catch::Approx(row.on_input).margin(1e-11));
    CATCH_REQUIRE(tableau.output.on_data.size() == row.on_data.size());
    for (std::size_t i = 0; i < row.on_data.size(); ++i)
      CATCH_CHECK(tableau.output.on_data[i] == Catch::Approx(row.on_data[i]).margin(1e-11));
    CATCH_CHECK(tableau.noise_variance() == Catch::Approx(row.noise_variance).margin(1e-11));
  }
}
