// `thaw metric` on folders of sound files, and what makes a folder no set.

#include <cmath>
#include <vector>

#include "core/base/text.h"
#include "core/io/wav.h"
#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;

namespace {

// Three sines of whole periods in 2000 samples.
void put_sounds(const std::filesystem::path& folder, double amplitude, std::int64_t rate_hz = 8000, int length = 2000) {
  std::filesystem::create_directories(folder);
  for (int i = 0; i < 3; ++i) {
    std::vector<float> samples;
    for (int t = 0; t < length; ++t)
      samples.push_back(static_cast<float>(amplitude * std::sin(2 * 3.14159265358979 * (50 + 30 * i) * t / 2000)));
    write_file(folder / concat("sound_", i, ".wav"), encode_wav(samples, {1, rate_hz}));
  }
}

}  // namespace

CATCH_TEST_CASE("folders of sounds are compared as sets and in pairs, at the rate of their files",
                "[experiments][metrics]") {
  const Scratch scratch("sound_sets");
  put_sounds(scratch / "a", 0.25);
  put_sounds(scratch / "b", 0.5);
  const std::string sets = (scratch / "a").string() + " " + (scratch / "b").string() + " --json";
  const auto measured = [&](const std::string& metric) {
    const Outcome outcome = run_program("metric " + metric + " " + sets, scratch);
    CATCH_CAPTURE(outcome.err);
    CATCH_REQUIRE(outcome.code == 0);
    return nlohmann::json::parse(outcome.out);
  };
  const nlohmann::json pairs = measured("spectral_distance");
  // Half as loud: 20 log10(2); 16 bits leave 1e-3.
  CATCH_CHECK(pairs["signal_to_noise"].get<double>() == Catch::Approx(20 * std::log10(2.0)).margin(1e-3));
  CATCH_CHECK(pairs["scale_invariant"].get<double>() > 70.0);
  const nlohmann::json sets_apart = measured("sound_statistics");
  CATCH_CHECK(sets_apart["level_distance"].get<double>() == Catch::Approx(20 * std::log10(2.0)).margin(1e-3));
  CATCH_CHECK(sets_apart["centroid_distance"].get<double>() < 0.5);
  CATCH_CHECK(sets_apart["clipped_share"] == 0.0);
  // 50, 80 and 110 periods in a quarter of a second.
  CATCH_CHECK(sets_apart["distributions"]["centroid_distance"]["low"].get<double>() ==
              Catch::Approx(200.0).margin(0.5));
  CATCH_CHECK(sets_apart["distributions"]["centroid_distance"]["high"].get<double>() ==
              Catch::Approx(440.0).margin(0.5));
}

CATCH_TEST_CASE("sounds of other lengths or rates, and mixed folders, are no set", "[experiments][metrics]") {
  const Scratch scratch("no_sound_sets");
  put_sounds(scratch / "a", 0.25);
  const auto refused = [&](const std::string& folder, const std::string& part) {
    const Outcome outcome =
        run_program("metric sound_statistics " + (scratch / "a").string() + " " + (scratch / folder).string(), scratch);
    CATCH_CAPTURE(outcome.err);
    CATCH_CHECK(outcome.code == 3);
    CATCH_CHECK(outcome.err.find(part) != std::string::npos);
  };
  put_sounds(scratch / "short/inner", 0.5, 8000, 1000);
  put_sounds(scratch / "short/other", 0.5, 8000, 1001);
  refused("short", "sound_0.wav: is [1, 1001], the others are [1, 1000]");
  put_sounds(scratch / "fast/inner", 0.5, 8000, 1000);
  put_sounds(scratch / "fast/other", 0.5, 16000, 1000);
  refused("fast", "has 16000 samples a second, the others have 8000");
  put_sounds(scratch / "mixed", 0.5);
  write_file(scratch / "mixed" / "a.png", "x");
  refused("mixed", "holds several of videos, pictures and sounds");
  std::filesystem::create_directories(scratch / "empty");
  refused("empty", "holds no videos, pictures or sounds");
}
