// Plans written out by an independent implementation.
#include "tests/catch.h"

#include "core/math/plan_analysis.h"
#include "tests/plans.h"
#include "tests/samplers_plans/rows.h"

using namespace thaw;
using namespace thaw::testing;

CATCH_TEST_CASE("samplers have the golden rows of an independent implementation", "[samplers][golden]") {
  CATCH_REQUIRE(kGoldenRows.size() == 30);
  const Grid grid = make_grid(variance_exploding(), {{1, 3}, {1, 2}, {1, 1.1}, {1, 0.5}, {1, 0.2}});
  for (const GoldenRow& row : kGoldenRows) {
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
