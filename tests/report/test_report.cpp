#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "experiments/report.h"
#include "experiments/report_html.h"
#include "experiments/report_parts.h"
#include "experiments/report_plots.h"
#include "tests/catch.h"
#include "tests/report/run_folder.h"

using namespace thaw;
using test::count_of;
using test::RunFolder;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string page_of(const RunFolder& run) {
  return render_report(load_report(run.path()));
}

std::string refusal_of(const RunFolder& run) {
  try {
    load_report(run.path());
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

CATCH_TEST_CASE("every figure of the run stands on its page exactly as in the file", "[report]") {
  const RunFolder run;
  run.fill();
  write_report(run.path());
  const std::string page = run.text("report.html");
  for (const char* value :
       {"0.9812", "3.14159", "1.0625", "912.5", "0.00123", "500",    "499",    "0.9634", "0.9911", "171.5",
        "0.75",   "20000",   "0.912",  "0.853", "0.951",   "12.375", "0.9375", "8.25",   "0.2125", "19"}) {
    CATCH_CAPTURE(value);
    CATCH_CHECK(contains(page, concat("<data value=\"", value, "\">")));
  }
  CATCH_CHECK(contains(page, "<h1>Small digits</h1>"));
  CATCH_CHECK(contains(page,
                       "The network <b>unet</b> learned <b>mnist</b> in <b><data value=\"8\">8</data></b> steps of 16 "
                       "samples, <b>2 min 52 s</b> on cpu"));
  CATCH_CHECK(contains(page, "drawn with <b>ddim</b> in 20 steps under cfg guidance 3.0"));
  CATCH_CHECK(contains(page, "floor <data value=\"1.0625\">1.062</data>, noise <data value=\"912.5\">912.5</data>"));
  CATCH_CHECK(contains(page, "thaw run configs/digits.yaml"));
  CATCH_CHECK(contains(page, "needs an even budget"));
  CATCH_CHECK(contains(page, "32.5 ms"));
  CATCH_CHECK(count_of(page, "<img ") == 12);
  CATCH_CHECK(!contains(page, "Not on this page"));
}

CATCH_TEST_CASE("a number is shown with four digits, a whole one in full", "[report]") {
  CATCH_CHECK(report::number(0.98) == "0.98");
  CATCH_CHECK(report::number(0.123456) == "0.1235");
  CATCH_CHECK(report::number(20000) == "20000");
  CATCH_CHECK(report::number(-0.0) == "0");
  CATCH_CHECK(report::number(12345.678) == "12345.7");
  CATCH_CHECK(report::number(1e-5) == "1e-05");
  CATCH_CHECK(report::number(std::nan("")) == "nan");
  CATCH_CHECK(report::duration(0.0325) == "32.5 ms");
  CATCH_CHECK(report::duration(171.5) == "2 min 52 s");
}

CATCH_TEST_CASE("texts of the run folder stay inert on the page", "[report]") {
  const std::string attack = "<script>alert(1)</script><img src=x onerror=alert(1)>\\\"'&";
  const RunFolder run;
  run.fill();
  run.put("environment.json", concat("{\"command\": \"", attack, "\", \"", attack, "\": \"", attack, "\"}"));
  run.put("config.resolved.yaml", concat("report: {title: \"", attack, "\"}\ndataset: {type: \"", attack, "\"}\n"));
  run.put("pictures/index.json", concat("{\"forward\": [{\"file\": \"f0.png\", \"caption\": \"", attack, "\"}]}"));
  run.put("metrics.json", concat("{\"", attack, "\": 1.5, \"text\": \"", attack, "\", \"stages\": {\"", attack,
                                 "\": {\"seconds\": 1, \"", attack, "\": 2}}, \"compare\": {\"quality\": \"", attack,
                                 "\", \"cells\": [{\"sampler\": \"", attack, "\", \"evaluations\": 5, \"", attack,
                                 "\": 0.5, \"seconds_per_sample\": 1}, {\"sampler\": \"b\", \"evaluations\": 5, "
                                 "\"refused\": \"",
                                 attack, "\"}]}}"));
  const std::string page = page_of(run);
  CATCH_CHECK(!contains(page, "<script>alert"));
  CATCH_CHECK(!contains(page, "<img src=x"));
  CATCH_CHECK(!contains(page, "onerror=alert(1)>"));
  CATCH_CHECK(count_of(page, "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") >= 12);
  CATCH_CHECK(count_of(page, "<script>") == 2);  // the page's own
}

CATCH_TEST_CASE("the page asks for nothing outside itself", "[report]") {
  const RunFolder run;
  run.fill();
  const std::string page = page_of(run);
  CATCH_CHECK(contains(page,
                       "content=\"default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
                       "script-src 'unsafe-inline'\""));
  CATCH_CHECK(count_of(page, "src=\"") == count_of(page, "src=\"data:"));
  CATCH_CHECK(count_of(page, "href=\"") == count_of(page, "href=\"#") + count_of(page, "href=\"data:"));
  CATCH_CHECK(!contains(page, "://"));
  CATCH_CHECK(!contains(page, "url("));
  CATCH_CHECK(count_of(page, "<img ") == count_of(page, " alt=\""));
}

CATCH_TEST_CASE("a part that the run lacks is left out and named in one sentence", "[report]") {
  const RunFolder run;
  run.put("environment.json", R"({"command": "thaw sample"})");
  const std::string page = page_of(run);
  CATCH_CHECK(contains(page, "Not on this page"));
  for (const char* sentence :
       {"There is no training curve", "There is no held-out loss", "The forward process is not shown",
        "The reverse process is not shown", "No samples are shown", "Nothing was measured", "No samplers were compared",
        "The times of the stages are unknown", "The configuration is unknown"}) {
    CATCH_CAPTURE(sentence);
    CATCH_CHECK(count_of(page, sentence) == 1);
  }
  for (const char* id : {"training", "forward", "reverse", "samples", "comparison", "measurements"}) {
    CATCH_CAPTURE(id);
    CATCH_CHECK(!contains(page, concat("id=\"", id, "\"")));
  }
  CATCH_CHECK(contains(page, concat("<h1>", run.path().filename().string(), "</h1>")));
}

CATCH_TEST_CASE("a broken file of the run is refused with its name and place", "[report]") {
  struct Case {
    const char *file, *content, *message;
  };
  const auto [file, content, message] = GENERATE(values<Case>({
      {"metrics.json", "{\"frechet\": 3.1", "metrics.json:1:15: not valid JSON"},
      {"metrics.json", "[1]", "metrics.json: expected an object, found array."},
      {"metrics.json", R"({"n": "many"})", "metrics.json: n: expected a number, found string."},
      {"metrics.json", R"({"stages": {"train": 3}})", "metrics.json: stages.train: expected an object, found number."},
      {"metrics.json", R"({"compare": {"cells": {}}})", "metrics.json: compare: cells: expected a list, found object."},
      {"metrics.json", R"({"compare": {"cells": [{"evaluations": 5}]}})",
       "compare.cells[0]: sampler: a name is missing"},
      {"metrics.json", R"({"compare": {"cells": [{"sampler": "a"}]}})",
       "compare.cells[0]: evaluations: a number is missing"},
      {"metrics.jsonl", "{\"step\":1,\"loss\":2}\n{\"step\":2,", "metrics.jsonl:2:1:"},
      {"metrics.jsonl", "{\"loss\":2}\n", "metrics.jsonl:1: step: a number is missing here."},
      {"metrics.jsonl", "{\"step\":1,\"loss\":\"low\"}\n", "metrics.jsonl:1: loss: expected a number, found string."},
      {"environment.json", "", "environment.json:"},
      {"config.resolved.yaml", "a: [1, 2", "config.resolved.yaml"},
      {"pictures/index.json", R"({"forward": [{"file": "missing.png"}]})", "missing.png"},
      {"pictures/index.json", R"({"forward": [{"file": "../environment.json"}]})", "not a file inside the run folder"},
      {"pictures/index.json", R"({"forward": [{"file": "/etc/passwd"}]})", "not a file inside the run folder"},
      {"pictures/index.json", R"({"forward": [{"file": ""}]})", "not a file inside the run folder"},
      {"pictures/index.json", R"({"forward": [{"file": "index.json"}]})", "a page cannot show \"index.json\""},
      {"pictures/f0.png", "GIF89a, and not a PNG", "the bytes are not those of a .png file"},
      {"pictures/f0.png", "\x89PNG\r\n\x1a\n", "f0.png"},
      {"previews/a.png", "", "a.png"},
  }));
  const RunFolder run;
  run.fill();
  run.put(file, content);
  const std::string refusal = refusal_of(run);
  CATCH_CAPTURE(file, content, refusal);
  CATCH_CHECK(contains(refusal, message));
  CATCH_CHECK(!contains(refusal, "\n"));
}

CATCH_TEST_CASE("stages stand in the order they run in, however the file sorts them", "[report]") {
  const RunFolder run;
  run.put("metrics.json", R"({"accuracy": 0.9, "stages": {"audit": {"seconds": 1}, "compare": {"seconds": 2},
      "evaluate": {"seconds": 3}, "sample": {"seconds": 4}, "train": {"seconds": 5}}})");
  std::string order;
  for (const ReportStage& stage : load_report(run.path()).stages) order += stage.name + " ";
  CATCH_CHECK(order == "train sample evaluate compare audit ");
  CATCH_CHECK(contains(page_of(run), " Measured: accuracy <b><data value=\"0.9\">0.9</data></b>."));
}

CATCH_TEST_CASE("a folder that is no run, and deep nesting, are refused", "[report]") {
  const RunFolder run;
  CATCH_CHECK(contains(refusal_of(run), "not a run folder: none of config.resolved.yaml"));
  run.put("metrics.json", std::string(100000, '['));
  CATCH_CHECK(contains(refusal_of(run), "nested deeper than 32"));
}

CATCH_TEST_CASE("a failed report leaves the page that stood", "[report]") {
  const RunFolder run;
  run.fill();
  write_report(run.path());
  const std::string before = run.text("report.html");
  run.put("metrics.json", "{");
  CATCH_CHECK_THROWS_AS(write_report(run.path()), DataError);
  CATCH_CHECK(run.text("report.html") == before);
}

CATCH_TEST_CASE("prompts stand under their pictures, obeyed or with what was missed", "[report]") {
  const RunFolder run;
  run.put("metrics.json", R"({"prompt_obeyed": 0.5, "prompt_obeyed_ceiling": 0.975, "n": 2, "prompts": {
      "rows": [{"of": "in full", "share": 0.5, "low": 0.0945, "high": 0.9055, "n": 2},
               {"of": "3 <digits>", "share": 0.25, "low": 0.0125, "high": 0.75, "n": 4}],
      "real": [{"of": "in full", "share": 0.9725, "low": 0.9, "high": 0.99, "n": 200}],
      "missed": [[], ["digits", "<places>"]]}})");
  run.put("pictures/index.json", R"({"samples": [
      {"file": "a.png", "caption": "a <b>red</b> 3", "sample": 0}, {"file": "a.png", "caption": "a 7", "sample": 1},
      {"file": "a.png", "caption": "not judged", "sample": 2}]})");
  run.put("pictures/a.png", test::tiny_png(9));
  const std::string page = page_of(run);
  CATCH_CHECK(
      contains(page, "<figcaption>a &lt;b&gt;red&lt;/b&gt; 3<span class=\"obeyed\">obeyed</span></figcaption>"));
  CATCH_CHECK(
      contains(page, "<figcaption>a 7<span class=\"missed\">missed: digits, &lt;places&gt;</span></figcaption>"));
  CATCH_CHECK(contains(page, "<figcaption>not judged</figcaption>"));
  CATCH_CHECK(contains(page, "3 &lt;digits&gt;"));
  for (const char* value : {"0.0945", "0.9055", "0.9725", "0.99", "0.25", "0.975"}) {
    CATCH_CAPTURE(value);
    CATCH_CHECK(contains(page, concat("<data value=\"", value, "\">")));
  }
  run.put("metrics.json", R"({"prompts": {"rows": [{"of": "in full", "share": "half"}]}})");
  CATCH_CHECK(contains(refusal_of(run), "rows[0]: share: expected a number, found string"));
  run.put("metrics.json", R"({"prompts": {"missed": [0]}})");
  CATCH_CHECK(contains(refusal_of(run), "missed: expected lists, found number"));
}

CATCH_TEST_CASE("sounds and videos get their players by suffix", "[report]") {
  const RunFolder run;
  run.put("pictures/index.json",
          R"({"samples": [{"file": "a.wav", "caption": "kick"}, {"file": "b.MP4", "caption": "clip"}]})");
  run.put("pictures/a.wav", test::tiny_wav());
  run.put("pictures/b.MP4", std::string("\0\0\0\x18"
                                        "ftypisom",
                                        12));
  const std::string page = page_of(run);
  CATCH_CHECK(contains(
      page,
      "<audio controls preload=\"metadata\" aria-label=\"Samples, 1 of 2: kick\" src=\"data:audio/wav;base64,UklGR"));
  CATCH_CHECK(contains(page,
                       "<video autoplay muted loop playsinline controls aria-label=\"Samples, 2 of 2: clip\" "
                       "src=\"data:video/mp4;base64,"));
}

CATCH_TEST_CASE("losses that are not finite are counted and not drawn", "[report]") {
  const RunFolder run;
  run.put("metrics.jsonl", "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":null}\n\n{\"step\":3,\"loss\":1}\n");
  const std::string page = page_of(run);
  CATCH_CHECK(contains(page, "1 of 3 logged losses are not finite and are not drawn."));
  CATCH_CHECK(!contains(page, "Lnan"));
  CATCH_CHECK(!contains(page, " nan\""));
  CATCH_CHECK(contains(page, "data-plot"));
}

CATCH_TEST_CASE("a long log stays a small page and keeps its spike", "[report]") {
  ReportData data{"long"};
  for (int i = 0; i < 100000; ++i) data.training.push_back({i + 1.0, i == 33333 ? 50.0 : 1.0, {}, {}, {}, {}});
  const std::string page = render_report(data);
  CATCH_CHECK(page.size() < 150000);
  // The spike is the top of the plot: 6 % of the range below its upper margin of 30 px, 254 px high.
  CATCH_CHECK(contains(page, " 43.6L"));
}

CATCH_TEST_CASE("of many previews sixteen are shown, the first and the last among them", "[report]") {
  const RunFolder run;
  std::string log;
  for (int i = 1; i <= 40; ++i) log += concat("{\"step\":", i, ",\"preview\":\"p.png\"}\n");
  run.put("metrics.jsonl", log);
  run.put("p.png", test::tiny_png(9));
  const ReportData data = load_report(run.path());
  CATCH_CHECK(data.preview_count == 40);
  CATCH_REQUIRE(data.previews.size() == 16);
  CATCH_CHECK(data.previews.front().caption == "step 1");
  CATCH_CHECK(data.previews.back().caption == "step 40");
  CATCH_CHECK(contains(render_report(data), "16 of the 40 previews, evenly spread."));
}

CATCH_TEST_CASE("smoothing keeps a line, mirrors with the log and skips what is not finite", "[report]") {
  std::vector<ReportTrainingPoint> points(301), mirrored(301);
  for (int i = 0; i <= 300; ++i) {
    points[i] = {static_cast<double>(i), 5.0 - 0.01 * i, {}, {}, {}, {}};
    mirrored[300 - i] = {static_cast<double>(i), std::sin(0.3 * i), {}, {}, {}, {}};
  }
  const std::vector<double> line = report::smoothed_loss(points);
  CATCH_CHECK(std::abs(line[150] - 3.5) < 1e-12);  // symmetric weights; what lies beyond the ends weighs 2^-50
  for (int i = 0; i <= 300; ++i) points[i].loss = std::sin(0.3 * i);
  const std::vector<double> forward = report::smoothed_loss(points), backward = report::smoothed_loss(mirrored);
  for (int i = 0; i <= 300; i += 50) CATCH_CHECK(std::abs(forward[i] - backward[300 - i]) < 1e-12);
  for (ReportTrainingPoint& point : points) point.loss = 2;
  points[7].loss = std::nan("");
  points[200].loss = std::numeric_limits<double>::infinity();
  for (const double value : report::smoothed_loss(points)) CATCH_CHECK(std::abs(value - 2) < 1e-12);
}

CATCH_TEST_CASE("round ticks lie inside their range, rise, and are few", "[report]") {
  struct Case {
    double low, high;
    bool is_log;
  };
  const auto [low, high, is_log] = GENERATE(values<Case>({{0, 1, false},
                                                          {-3.7, 12.2, false},
                                                          {0.101, 0.1013, false},
                                                          {1e-7, 2e-7, true},
                                                          {0.03, 1.1, true},
                                                          {0.9, 1.2, true},
                                                          {1e-9, 1e12, true},
                                                          {-1e9, 1e-9, false}}));
  CATCH_CAPTURE(low, high, is_log);
  const std::vector<double> ticks = report::round_ticks(low, high, 5, is_log);
  CATCH_REQUIRE(ticks.size() >= 2);
  CATCH_CHECK(ticks.size() <= 10);
  const double slack = 1e-9 * (high - low);
  CATCH_CHECK(ticks.front() >= low - slack);
  CATCH_CHECK(ticks.back() <= high + slack);
  for (std::size_t i = 1; i < ticks.size(); ++i) CATCH_CHECK(ticks[i] > ticks[i - 1]);
}
