// `thaw metric` on folders of sound files, and what makes a folder no set.

#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/wav.h"
#include "experiments/sample_set.h"
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

CATCH_TEST_CASE("a folder for each class tells labels, and length cuts sounds or fills them up",
                "[experiments][metrics]") {
  using Labels = std::vector<std::int64_t>;
  CATCH_CHECK(labels_of_folders({"two", "one", "two"}, 2, {}) == Labels{1, 0, 1});
  CATCH_CHECK(labels_of_folders({"two", "one", "two"}, 3, {"two", "three", "one"}) == Labels{0, 2, 0});
  CATCH_CHECK_THROWS_WITH(labels_of_folders({"two", "one"}, 3, {}),
                          Catch::Contains("in 2 folders") && Catch::Contains("knows 3 classes"));
  CATCH_CHECK_THROWS_WITH(labels_of_folders({"four"}, 2, {"one", "two"}),
                          Catch::Equals("folder \"four\": the judge knows no class of this name."));
  const Scratch scratch("class_folders");
  int length = 9000;
  for (const char* digit : {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"})
    put_sounds(scratch / "a" / digit, 0.25, 16000, length += 1000);
  const std::string a = scratch / "a";
  const Outcome outcome = run_program(
      "metric class_agreement " + a + " " + a + " judge=models/spoken_digits_judge length=16384 --json", scratch);
  CATCH_CAPTURE(outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  const nlohmann::json measured = nlohmann::json::parse(outcome.out);
  CATCH_CHECK(measured["details"]["class_agreement"]["n"] == 30);
  CATCH_CHECK(measured["measured_set"].get<std::string>().find("[30, 1, 16384]") != std::string::npos);
  const SampleSet set = read_sample_set(scratch / "a", 4, 16384);
  CATCH_CHECK(set.folders == std::vector<std::string>{"eight", "eight", "eight", "five"});
  CATCH_CHECK(set.raw.select(2, 16383).abs().max().item<double>() > 0);            // 18,000 samples, cut
  CATCH_CHECK(set.raw[3].narrow(1, 15000, 1384).abs().max().item<double>() == 0);  // 15,000, followed by silence
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
