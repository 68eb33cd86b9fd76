// The page in a real browser: it checks itself where its address ends in #selftest and leaves the counts on <body>.

#include <bit>
#include <cmath>
#include <csignal>
#include <iostream>

#include "core/base/files.h"
#include "core/io/bytes.h"
#include "experiments/report.h"
#include "tests/catch.h"
#include "tests/report/browser.h"
#include "tests/report/run_folder.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/video_file.h"
#endif

using namespace thaw;
using test::RunFolder;

namespace {

bool has_browser() {
  std::signal(SIGPIPE, SIG_IGN);  // a browser that dies is reported by the failing write
  if (test::has_chromium()) return true;
  // ctest reads this line (SKIP_REGULAR_EXPRESSION).
  std::cout << "SKIPPED: chromium is not installed" << std::endl;
  CATCH_WARN("SKIPPED: chromium is not installed");
  return false;
}

struct Visit {
  nlohmann::json counts;  // of the page's own check
  std::string console;

  std::string count(const std::string& name) const { return counts.value(name, "absent"); }
};

Visit visit(const RunFolder& run, const std::string& page = "report.html") {
  test::Browser browser(run.path() / "profile");
  browser.visit(concat("file://", run.path().string(), "/", page, "#selftest"),
                "document.body.dataset.selftest === 'done'");
  return {browser.evaluate("({...document.body.dataset})"), browser.console()};
}

}  // namespace

CATCH_TEST_CASE("in a browser every picture decodes, sliders and read-outs work, and nothing fails",
                "[report][browser]") {
  if (!has_browser()) return;
  const RunFolder run;
  run.fill();
  write_report(run.path());
  const Visit seen = visit(run);
  CATCH_CAPTURE(seen.counts.dump(), seen.console);
  CATCH_REQUIRE(seen.count("selftest") == "done");
  CATCH_CHECK(seen.count("images") == "14");  // 12 and the two enlarged ones above the sliders
  CATCH_CHECK(seen.count("imagesDecoded") == "14");
  CATCH_CHECK(seen.count("sliders") == "2");
  CATCH_CHECK(seen.count("slidersMoved") == "2");
  CATCH_CHECK(seen.count("plots") == "8");  // loss, rate, norm, levels; two figures against evaluations and seconds
  CATCH_CHECK(seen.count("plotsRead") == "8");
  CATCH_CHECK(seen.count("errors") == "0");
  CATCH_CHECK(seen.console.empty());
}

CATCH_TEST_CASE("in a browser hostile names neither run nor load anything, and sounds play", "[report][browser]") {
  if (!has_browser()) return;
  const std::string attack = "</script></svg><img src=x onerror=alert(1)><script>throw 1</script>\\\"'&";
  const RunFolder run;
  run.put("environment.json", concat("{\"command\": \"", attack, "\"}"));
  run.put("metrics.json",
          concat("{\"", attack, "\": 1.5, \"compare\": {\"quality\": \"", attack, "\", \"cells\": [{\"sampler\": \"",
                 attack, "\", \"evaluations\": 5, \"", attack, "\": 0.5}, {\"sampler\": \"", attack,
                 "\", \"evaluations\": 9, \"", attack, "\": 0.75}]}}"));
  run.put("pictures/index.json", concat("{\"samples\": [{\"file\": \"a.wav\", \"caption\": \"", attack, "\"}]}"));
  run.put("pictures/a.wav", test::tiny_wav());
  write_report(run.path());
  const Visit seen = visit(run);
  CATCH_CAPTURE(seen.counts.dump(), seen.console);
  CATCH_REQUIRE(seen.count("selftest") == "done");
  CATCH_CHECK(seen.count("images") == "0");
  CATCH_CHECK(seen.count("media") == "1");
  CATCH_CHECK(seen.count("mediaPlayed") == "1");
  CATCH_CHECK(seen.count("plotsRead") == "1");
  CATCH_CHECK(seen.count("errors") == "0");
  CATCH_CHECK(seen.console.empty());
}

#ifdef THAW_HAS_MEDIA
CATCH_TEST_CASE("in a browser clips play by themselves, real ones beside those generated", "[report][browser]") {
  if (!has_browser()) return;
  const RunFolder run;
  Clip clip{64, 32, 1};
  for (int t = 0; t < 12; ++t) {
    for (int i = 0; i < 64 * 32; ++i) clip.pixels.push_back(static_cast<std::uint8_t>(i % 64 / 8 == t % 8 ? 255 : 20));
    clip.times_s.push_back(0.1 * t);
  }
  make_folder(run.path() / "pictures");
  for (const char* file : {"class_3.mp4", "real_3.mp4"})
    write_video(run.path() / "pictures" / file, clip, {.rate = frame_rate(10)});
  run.put("pictures/index.json", R"({"samples": [{"file": "class_3.mp4", "caption": "3"}],
                                     "real": [{"file": "real_3.mp4", "caption": "3"}]})");
  run.put("metrics.json", R"({"digit_recognised": 0.75, "by_place": {"digit_recognised": {"axis": "frame",
                              "samples": [1, 0.75, 0.5], "ceiling": [1, 1, 1]}}})");
  write_report(run.path());
  {
    test::Browser browser(run.path() / "profile");
    // Nobody has pressed a button.
    browser.visit(concat("file://", run.path().string(), "/report.html"),
                  "[...document.querySelectorAll('video')].filter(v => v.currentTime > 0).length === 2");
    CATCH_CHECK(browser.evaluate("[...document.querySelectorAll('video')].every(v => v.muted && v.loop && "
                                 "v.videoWidth === 64 && v.videoHeight === 32)") == true);
    CATCH_CHECK(
        browser.evaluate("[...document.querySelectorAll('.couples figcaption')].map(f => f.textContent)").dump() ==
        R"(["3, generated","3, held out"])");
    const auto lefts =
        browser.evaluate("[...document.querySelectorAll('video')].map(v => v.getBoundingClientRect().x)");
    CATCH_CHECK(lefts[0] < lefts[1]);
  }
  const Visit seen = visit(run);
  CATCH_CHECK(seen.count("mediaPlayed") == "2");
  CATCH_CHECK(seen.count("plotsRead") == "1");
  CATCH_CHECK(seen.count("errors") == "0");
  CATCH_CHECK(seen.console.empty());
}
#endif

namespace {

// Two clouds in one file: a bar along x and a ring, of which the second is turned by `turn` about x.
std::string ply_of_two(double turn) {
  std::string ply =
      "ply\nformat binary_little_endian 1.0\nelement vertex 400\nproperty float x\nproperty float y\nproperty float z\n"
      "property int object\nend_header\n";
  for (int i = 0; i < 400; ++i) {
    const double u = i % 200 / 200.0 * 6.283185307;
    const float x = static_cast<float>(i < 200 ? u - 3.1 : std::cos(u));
    const float y = static_cast<float>(i < 200 ? 0.0 : std::sin(u) * std::cos(turn));
    const float z = static_cast<float>(i < 200 ? 0.0 : std::sin(u) * std::sin(turn));
    for (const float value : {x, y, z}) append_le(ply, std::bit_cast<std::uint32_t>(value));
    append_le(ply, std::uint32_t{i < 200 ? 0u : 1u});
  }
  return ply;
}

}  // namespace

CATCH_TEST_CASE("in a browser clouds of points turn, also along the steps of a sampler", "[report][browser]") {
  if (!has_browser()) return;
  const RunFolder run;
  run.put("pictures/real.ply", ply_of_two(0.0));
  for (int step = 0; step < 3; ++step) run.put(concat("pictures/step_", step, ".ply"), ply_of_two(0.5 * step));
  run.put("pictures/index.json", R"({"samples": [{"file": "real.ply", "caption": "a chair"}],
      "reverse": [{"file": "step_0.ply", "caption": "step 1"}, {"file": "step_1.ply", "caption": "step 2"},
                  {"file": "step_2.ply", "caption": "step 3"}]})");
  write_report(run.path());
  const Visit seen = visit(run);
  CATCH_CAPTURE(seen.counts.dump(), seen.console);
  CATCH_REQUIRE(seen.count("selftest") == "done");
  CATCH_CHECK(seen.count("clouds") == "4");
  CATCH_CHECK(seen.count("cloudsTurned") == "4");
  CATCH_CHECK(seen.count("sliders") == "1");
  CATCH_CHECK(seen.count("slidersMoved") == "1");
  CATCH_CHECK(seen.count("errors") == "0");
  // Drawing without a graphics card, and copying from it, is warned of.
  CATCH_CHECK(seen.console.find(R"("level":"error")") == std::string::npos);
  // What the mouse does: a drag over one cloud turns all, and the canvas holds points and not one colour alone.
  test::Browser browser(run.path() / "profile2");
  browser.visit(concat("file://", run.path().string(), "/report.html"),
                "window.thawClouds && window.thawClouds.count === 4");
  CATCH_CHECK(browser.evaluate(R"js((() => {
    const canvas = document.querySelector('canvas.cloud'), box = canvas.getBoundingClientRect();
    const point = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind, {clientX: box.left + x, clientY: box.top + 20, pointerId: 1}));
    canvas.setPointerCapture = () => {};
    window.scrollTo(0, box.top);
    window.thawClouds.draw();
    const before = canvas.toDataURL();
    point('pointerdown', 10); point('pointermove', 110); point('pointerup', 110);
    window.thawClouds.draw();
    const after = canvas.toDataURL();
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let inked = 0;
    for (let i = 3; i < pixels.length; i += 4) inked += pixels[i] > 0;
    return before !== after && inked > 200 && inked < pixels.length / 8;
  })())js") == true);
}

CATCH_TEST_CASE("the page's own check sees a picture that does not decode and a script that fails",
                "[report][browser]") {
  if (!has_browser()) return;
  const RunFolder run;
  run.fill();
  std::string broken = test::tiny_png(50);
  run.put("pictures/s0.png", broken.substr(0, broken.size() - 40));  // the header stands, the pixels are cut off
  write_report(run.path());
  run.put("probe.html",
          test::replaced(run.text("report.html"), "</main>", "</main><script>throw new Error('probe')</script>"));
  const Visit seen = visit(run, "probe.html");
  CATCH_CAPTURE(seen.counts.dump(), seen.console);
  CATCH_REQUIRE(seen.count("selftest") == "done");
  CATCH_CHECK(seen.count("images") == "14");
  CATCH_CHECK(seen.count("imagesDecoded") == "13");
  CATCH_CHECK(seen.count("errors") == "2");  // the picture and the script
  CATCH_CHECK(seen.console.find("probe") != std::string::npos);
}

CATCH_TEST_CASE("keys step through the reverse process, the pointer reads plots, a click enlarges",
                "[report][browser]") {
  if (!has_browser()) return;
  const RunFolder run;
  run.fill();
  write_report(run.path());
  test::Browser browser(run.path() / "profile");
  browser.visit(concat("file://", run.path().string(), "/report.html"), "document.readyState === 'complete'");
  const auto press = [&](const char* key, int code) {
    for (const char* type : {"keyDown", "keyUp"})
      browser.call("Input.dispatchKeyEvent",
                   {{"type", type}, {"key", key}, {"code", key}, {"windowsVirtualKeyCode", code}});
  };
  // Puts the middle of an element under the pointer.
  const auto mouse = [&](const char* type, const std::string& selector) {
    const auto at =
        browser.evaluate(concat("(() => { const e = document.querySelector('", selector,
                                "'); e.scrollIntoView({block: 'center', behavior: 'instant'}); const b = "
                                "e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"));
    browser.call("Input.dispatchMouseEvent",
                 {{"type", type}, {"x", at[0]}, {"y", at[1]}, {"button", "left"}, {"clickCount", 1}});
  };

  const std::string shown =
      "[document.querySelector('[for=reverse-slider]').textContent, [...document.querySelectorAll("
      "'#reverse ~ .stepper .frames img')].findIndex(i => i.src === document.querySelector("
      "'#reverse ~ .stepper .stage img').src)]";
  CATCH_CHECK(browser.evaluate(shown).dump() == R"(["step 2",2])");
  browser.evaluate("document.querySelector('#reverse-slider').focus()");
  press("ArrowLeft", 37);
  CATCH_CHECK(browser.evaluate(shown).dump() == R"(["step 1",1])");
  press("Home", 36);
  CATCH_CHECK(browser.evaluate(shown).dump() == R"(["noise",0])");

  CATCH_CHECK(browser.evaluate("document.querySelector('.readout').hidden") == true);
  mouse("mouseMoved", "[data-plot=x]");
  const std::string readout = browser.evaluate("document.querySelector('.readout').textContent");
  CATCH_CAPTURE(readout);
  CATCH_CHECK(readout.find("step 4\nloss 0.25, smoothed ") ==
              0);  // the middle of steps 1 to 8, and the validation there
  CATCH_CHECK(readout.find("held-out loss 0.31") != std::string::npos);

  mouse("mousePressed", "#samples ~ .media img");
  mouse("mouseReleased", "#samples ~ .media img");
  CATCH_CHECK(browser.evaluate("document.querySelector('dialog').open") == true);
  CATCH_CHECK(browser.evaluate("document.querySelector('dialog img').src === document.querySelector('#samples ~ .media "
                               "img').src") == true);
  press("Escape", 27);
  CATCH_CHECK(browser.evaluate("document.querySelector('dialog').open") == false);
  CATCH_CHECK(browser.console().empty());
}
