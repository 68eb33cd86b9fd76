// thaw roundtrip: what codecs lose of the data, and what cannot be measured says why.

#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;

CATCH_TEST_CASE("a codec without loss has the best figures, and the spread of what a network sees is told",
                "[experiments][roundtrip]") {
  const Scratch scratch("roundtrip");
  const Outcome told = run_program("roundtrip " + tiny_config(scratch).string() + " n=20 --json", scratch);
  CATCH_CAPTURE(told.err);
  CATCH_REQUIRE(told.code == 0);
  const nlohmann::json result = nlohmann::json::parse(told.out);
  CATCH_CHECK(result["psnr"] == 120.0);
  CATCH_CHECK(result["ssim"].get<double>() == Catch::Approx(1.0));
  CATCH_CHECK(result["n"] == 20);
  CATCH_CHECK(result["of"] == "held-out examples");
  CATCH_CHECK(result["encoded_shape"] == nlohmann::json({1, 28, 28}));
  CATCH_CHECK(result["encoded"]["least"] == -1.0);
  CATCH_CHECK(result["left_out"]["spectral_distance"].get<std::string>().find("needs sounds") != std::string::npos);

  const Outcome page = run_program("roundtrip " + tiny_config(scratch).string() + " n=4", scratch);
  CATCH_CHECK(page.out.find("1 x 28 x 28 of 1 x 28 x 28, 4 held-out examples") != std::string::npos);
  CATCH_CHECK(run_program("roundtrip", scratch).code == 2);
  CATCH_CHECK(run_program("roundtrip " + tiny_config(scratch).string() + " n=1", scratch).code == 2);
}
