// Sounds on the page: pictures that are heard, classes in groups, nearest training examples, distributions.

#include <csignal>
#include <iostream>

#include "core/base/error.h"
#include "experiments/report.h"
#include "tests/catch.h"
#include "tests/report/browser.h"
#include "tests/report/run_folder.h"

using namespace thaw;
using test::RunFolder;

namespace {

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string page_of(const RunFolder& run) {
  write_report(run.path());
  return run.text("report.html");
}

// Two classes: of "drum" two generated and one held out, of "hat" one each.
void put_sounds(const RunFolder& run) {
  std::string index;
  const auto group = [&](const char* name, std::initializer_list<std::pair<const char*, const char*>> items) {
    std::string list;
    for (const auto& [file, caption] : items) {
      run.put(concat("pictures/", file, ".png"), test::tiny_png(80));
      run.put(concat("pictures/", file, ".wav"), test::tiny_wav());
      list += concat(list.empty() ? "" : ", ", "{\"file\": \"", file, ".png\", \"sound\": \"", file,
                     ".wav\", \"caption\": \"", caption, "\"}");
    }
    index += concat(index.empty() ? "" : ", ", "\"", name, "\": [", list, "]");
  };
  group("samples", {{"class_0_0", "drum"}, {"class_0_1", "drum"}, {"class_1_0", "hat"}});
  group("real", {{"real_0_0", "drum"}, {"real_1_0", "hat"}});
  group("nearest_samples", {{"nearest_5_sample", "sample 5, distance 0.25"}});
  group("nearest_training", {{"nearest_5_training", "sample 5, distance 0.25"}});
  run.put("pictures/index.json", concat("{", index, "}"));
  run.put("metrics.json",
          R"({"memorisation": "samples copy training examples: 99 % of pairs", "nearest_training": 0.5,
              "nearest_training_floor": 1.75, "distributions": {"level_distance": {"axis": "level, dB", "low": -40,
              "high": 0, "samples": [0.25, 0.75], "held out": [0.5, 0.5]}}})");
}

}  // namespace

CATCH_TEST_CASE("classes of sounds stand in groups, each picture with its own player", "[report][sounds]") {
  const RunFolder run;
  put_sounds(run);
  const ReportData data = load_report(run.path());
  CATCH_REQUIRE(data.samples.size() == 3);
  CATCH_CHECK(data.samples[1].mime == "image/png");
  CATCH_CHECK(data.samples[1].sound_mime == "audio/wav");
  CATCH_CHECK(data.samples[1].sound_bytes == test::tiny_wav());
  CATCH_REQUIRE(data.distributions.size() == 1);
  CATCH_CHECK(data.distributions[0].low == -40.0);
  CATCH_CHECK(data.distributions[0].series[0].second == std::vector<double>{0.25, 0.75});

  const std::string page = page_of(run);
  CATCH_CHECK(contains(page, "<figcaption>drum, generated</figcaption>"));
  CATCH_CHECK(contains(page, "<figcaption>hat, held out</figcaption>"));
  CATCH_CHECK(contains(page, "<b>Copies.</b> samples copy training examples: 99 % of pairs."));
  CATCH_CHECK(contains(page, "Held-out examples lie <data value=\"1.75\">1.75</data> from theirs on average."));
  CATCH_CHECK(contains(page, "<figcaption>sample 5, distance 0.25, training example</figcaption>"));
  CATCH_CHECK(contains(page, "How often level, dB lies where."));
}

CATCH_TEST_CASE("sounds of the page that are none, and distributions that are none, are refused with their place",
                "[report][sounds]") {
  const RunFolder run;
  put_sounds(run);
  const auto message = [&] {
    try {
      load_report(run.path());
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  run.put("metrics.json", R"({"distributions": {"x": {"axis": "a", "low": 2, "high": 1, "samples": []}}})");
  CATCH_CHECK(contains(message(), "distributions.x: expected finite low < high"));
  run.put("metrics.json", R"({"distributions": {"x": {"axis": "a", "low": 0, "high": 1, "samples": ["b"]}}})");
  CATCH_CHECK(contains(message(), "expected numbers, found string"));
  run.put("metrics.json", "{}");
  run.put("pictures/index.json",
          R"({"samples": [{"file": "class_0_0.png", "sound": "class_0_1.png", "caption": "drum"}]})");
  CATCH_CHECK(contains(message(), "is no sound"));
  run.put("pictures/index.json", R"({"samples": [{"file": "class_0_0.png", "sound": "../a.wav", "caption": "drum"}]})");
  CATCH_CHECK(contains(message(), "is not a file inside the run folder"));
}

CATCH_TEST_CASE("in a browser every sound plays, and a click on its picture starts it", "[report][browser]") {
  std::signal(SIGPIPE, SIG_IGN);  // a browser that dies is reported by the failing write
  if (!test::has_chromium()) {
    std::cout << "SKIPPED: chromium is not installed" << std::endl;  // ctest reads this line
    CATCH_WARN("SKIPPED: chromium is not installed");
    return;
  }
  const RunFolder run;
  put_sounds(run);
  write_report(run.path());
  const std::string address = concat("file://", run.path().string(), "/report.html");
  {
    test::Browser browser(run.path() / "profile");
    browser.visit(address, "document.readyState === 'complete'");
    CATCH_CHECK(browser.evaluate("[...document.querySelectorAll('audio')].every(a => a.paused)") == true);
    browser.evaluate("document.querySelectorAll('.sounding img')[1].click()");
    const nlohmann::json playing = browser.evaluate(
        "new Promise(done => { const all = [...document.querySelectorAll('audio')]; const look = () => "
        "all[1].currentTime > 0 ? done(all.filter(a => a.currentTime > 0).length) : setTimeout(look, 20); look(); })");
    CATCH_CHECK(playing == 1);
    const nlohmann::json lefts = browser.evaluate(
        "[...document.querySelectorAll('#samples ~ .couples figure')].map(f => f.getBoundingClientRect().x)");
    CATCH_REQUIRE(lefts.size() == 4);
    CATCH_CHECK(lefts[0] < lefts[1]);
    CATCH_CHECK(lefts[0] == lefts[2]);
  }
  test::Browser browser(run.path() / "profile_2");
  browser.visit(address + "#selftest", "document.body.dataset.selftest === 'done'");
  const nlohmann::json counts = browser.evaluate("({...document.body.dataset})");
  CATCH_CAPTURE(counts.dump(), browser.console());
  CATCH_CHECK(counts["media"] == "7");
  CATCH_CHECK(counts["mediaPlayed"] == "7");
  CATCH_CHECK(counts["imagesDecoded"] == "7");
  CATCH_CHECK(counts["plotsRead"] == "1");
  CATCH_CHECK(counts["errors"] == "0");
  CATCH_CHECK(browser.console().empty());
}
