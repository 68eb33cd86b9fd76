// Prompts obeyed: counted by hand, of real pictures, and from a configuration to the report.

#include <algorithm>

#include <ATen/ATen.h>

#include "core/caption.h"
#include "core/io/npz.h"
#include "core/metrics/frechet.h"
#include "core/metrics/obedience.h"
#include "experiments/evaluation.h"
#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

/// A sample [2] obeys where it holds the caption's two numbers; its kind is the first of them.
class PairChecker : public PromptChecker {
 public:
  std::vector<std::string> parts() const override { return {"first", "second"}; }
  std::vector<std::string> kinds() const override { return {"zero", "one", "two"}; }
  DataSpec judge_spec() const override { return {{2}, 3}; }
  PromptVerdict check(const at::Tensor& raw, std::string_view caption, const Naming& name) const override {
    const at::Tensor seen = name(raw);
    const std::int64_t first = caption[0] - '0', second = caption[1] - '0';
    return {{seen[0].item<std::int64_t>() == first, seen[1].item<std::int64_t>() == second},
            static_cast<std::size_t>(first)};
  }
};

// Captioned digits in small; trains on next to nothing.
const char* const kCaptioned = R"(
seed: 3
precision: float32
dataset: {type: captioned_digits, path: data/mnist, split: train, size: 64}
objective: {type: denoising, prediction: v, condition_dropout: 0.1}
backbone: {type: unet, width: 8, multipliers: [1, 1, 1, 2], blocks: 1, attention: [8], words: [a, small, large], text_features: 8, text_depth: 1, text_heads: 1}
train: {steps: 2, batch: 2, checkpoint_every: 2, log_every: 1, optimizer: {warmup: 1}}
sampler: ddim
grid: {type: trailing, steps: 2}
guidance: {type: cfg, scale: 2.0}
sampling: {micro_batch: 6}
evaluate: {n: 6, metrics: [prompt_obeyed], judge: models/scene_judge}
compare: {samplers: [ddim], evaluations: [1], n: 4}
)";

std::string captioned_config(const Scratch& scratch) {
  write_file(scratch / "captioned.yaml", kCaptioned);
  return scratch / "captioned.yaml";
}

const nlohmann::json& row_of(const nlohmann::json& rows, const std::string& of) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const nlohmann::json& row) { return row["of"] == of; });
  CATCH_REQUIRE(found != rows.end());
  return *found;
}

}  // namespace

CATCH_TEST_CASE("prompts obeyed are counted in full, by part and by kind", "[experiments][prompts]") {
  const at::Tensor raw = at::tensor({0, 0, 0, 1, 1, 1, 1, 2}, at::kLong).reshape({4, 2});
  const std::vector<std::string> captions{"00", "00", "11", "01"};
  const nlohmann::json measured = measure_prompts(PairChecker(), raw, captions, [](const at::Tensor& x) { return x; });
  const auto expect = [&](const char* of, std::int64_t right, std::int64_t n) {
    CATCH_CAPTURE(of);
    const nlohmann::json& row = row_of(measured["rows"], of);
    const Interval wilson = proportion_interval(right, n);
    CATCH_CHECK(row["share"] == static_cast<double>(right) / static_cast<double>(n));
    CATCH_CHECK(row["n"] == n);
    CATCH_CHECK(row["low"] == wilson.low);
    CATCH_CHECK(row["high"] == wilson.high);
  };
  expect("in full", 2, 4);
  expect("first", 3, 4);
  expect("second", 2, 4);
  expect("zero", 1, 3);
  expect("one", 1, 1);
  CATCH_CHECK(measured["rows"].size() == 5);  // none of kind two
  CATCH_CHECK(measured["missed"] == nlohmann::json::parse(R"([[], ["second"], [], ["first", "second"]])"));
}

CATCH_TEST_CASE("real pictures obey their own prompts and not each other's", "[experiments][prompts]") {
  const Scratch scratch("real_prompts");
  const Catalog catalog = make_catalog();
  Config config = Config::load(captioned_config(scratch));
  config.set("dataset.size", "150");
  const Experiment experiment(std::move(config), catalog);
  Evaluator evaluator(experiment);
  const nlohmann::json real = evaluator.beside(150)["prompts"]["real"];
  // 97 % of real pictures are read in full: n = 150, standard error 1.4 %.
  CATCH_CHECK(real[0]["share"] >= 0.92);
  for (const char* part : {"number", "colours", "sizes", "places"}) CATCH_CHECK(row_of(real, part)["share"] >= 0.97);
  std::int64_t by_kind = 0;
  for (const char* kind : {"1 digit", "2 digits", "3 digits"}) by_kind += row_of(real, kind)["n"].get<std::int64_t>();
  CATCH_CHECK(by_kind == 150);

  const Batch batch = examples(*experiment.held_out(), 40);
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < 40; ++i) captions.push_back(text_of(batch.condition.at("caption")[(i + 1) % 40]));
  const nlohmann::json wrong = evaluator.measure(batch.data, {}, captions);
  CATCH_CHECK(wrong["prompt_obeyed"] <= 0.05);  // one of 40 may ask for the same by chance
  CATCH_CHECK(wrong["details"]["prompt_obeyed"]["n"] == 40);
  CATCH_CHECK(!evaluator.measure(batch.data, {}).contains("prompt_obeyed"));  // nothing was asked
}

CATCH_TEST_CASE("prompts obeyed go from a configuration to metrics, comparison, study and report",
                "[experiments][prompts]") {
  const Scratch scratch("prompts");
  const std::string config = captioned_config(scratch), run = scratch / "run";
  const Outcome outcome = run_program("run " + config + " out=" + run, scratch);
  CATCH_CAPTURE(outcome.err, outcome.out);
  CATCH_REQUIRE(outcome.code == 0);
  const nlohmann::json metrics = json_of(fs::path(run) / "metrics.json");
  CATCH_CHECK(metrics["prompt_obeyed"].is_number());
  CATCH_CHECK(metrics["prompt_obeyed_ceiling"] >= 0.5);
  CATCH_CHECK(metrics["prompts"]["missed"].size() == 6);
  CATCH_CHECK(metrics["prompts"]["real"].size() >= 7);
  const nlohmann::json& cell = metrics["compare"]["cells"][0];
  for (const char* name : {"prompt_obeyed", "prompt_obeyed_low", "prompt_obeyed_high"})
    CATCH_CHECK(cell.at(name).is_number());
  CATCH_CHECK(cell["prompts"][0]["n"] == 4);
  CATCH_CHECK(metrics["compare"]["quality"] == "prompt_obeyed");

  const auto captions = read_npz(fs::path(run) / "samples" / "samples.npz").at("captions");
  CATCH_CHECK(captions.shape.at(0) == 6);
  const std::string first(reinterpret_cast<const char*>(captions.bytes.data()));
  const std::string page = read_file(fs::path(run) / "report.html");
  CATCH_CHECK(page.find("<figcaption>" + first + "<span class=") != std::string::npos);
  CATCH_CHECK(page.find("Prompts obeyed") != std::string::npos);

  const std::string folder = scratch / "";
  const std::string there = "ln -sfn \"$PWD\"/models \"$PWD\"/data " + folder + " && cd " + folder + " &&";
  const Outcome study = run_program("study captioned.yaml out=page.md", scratch, there);
  CATCH_CAPTURE(study.err);
  CATCH_REQUIRE(study.code == 0);
  const std::string table = read_file(scratch / "page.md");
  CATCH_CAPTURE(table);
  CATCH_CHECK(table.find("| n | ms a sample | obeyed |") != std::string::npos);
  CATCH_CHECK(table.find("| " + format_short(cell["prompt_obeyed"].get<double>(), 3) + " (") != std::string::npos);
  CATCH_CHECK(table.find("| configuration | sampler | evaluations | in full | number |") != std::string::npos);
  CATCH_CHECK(table.find("| captioned | ddim | 1 | " +
                         format_short(row_of(cell["prompts"], "in full")["share"].get<double>(), 3) + " | " +
                         format_short(row_of(cell["prompts"], "number")["share"].get<double>(), 3) + " |") !=
              std::string::npos);
}

CATCH_TEST_CASE("a negative prompt changes samples, an empty one nothing", "[experiments][prompts]") {
  const Scratch scratch("negative");
  const std::string run = scratch / "run", out = scratch / "s.npz";
  CATCH_REQUIRE(run_program("train " + captioned_config(scratch) + " out=" + run + " train.steps=6", scratch).code ==
                0);
  const auto sampled = [&](const std::string& settings) {
    const Outcome outcome = run_program("sample " + run + " n=2 out=" + out + " " + settings, scratch);
    CATCH_CAPTURE(settings, outcome.err);
    CATCH_REQUIRE(outcome.code == 0);
    return read_npz(out).at("arr_0").bytes;
  };
  const std::string prompt = "prompt=\"a small red 3 at the centre\" grid.steps=3 guidance.scale=20 ";
  const auto plain = sampled(prompt);
  CATCH_CHECK(plain == sampled(prompt + "negative=\"\""));
  CATCH_CHECK(plain != sampled(prompt + "negative=\"a large: blue 7\""));
  const Outcome none = run_program("sample models/digits n=1 negative=red out=" + out, scratch);
  CATCH_CHECK(none.code == 2);
  CATCH_CHECK_THAT(none.err, Catch::Contains("negative_prompt: the samples have no captions"));
}

CATCH_TEST_CASE("prompts that cannot be judged are refused before anything is trained", "[experiments][errors]") {
  const Scratch scratch("prompt_errors");
  const std::string config = captioned_config(scratch), tiny = tiny_config(scratch).string();
  const auto fails = [&](const std::string& arguments, const std::string& message) {
    const Outcome outcome = run_program("run " + arguments + " out=" + (scratch / "out").string(), scratch);
    CATCH_CAPTURE(arguments, outcome.err);
    CATCH_CHECK(outcome.code == 2);
    CATCH_CHECK_THAT(outcome.err, Catch::Contains(message));
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CATCH_CHECK_FALSE(fs::exists(scratch / "out"));
  };
  fails(tiny + " evaluate.metrics=[prompt_obeyed]", "prompt_obeyed needs captions that can be checked");
  fails(config + " evaluate.judge=\"\"", "prompt_obeyed needs evaluate.judge");
}

CATCH_TEST_CASE("samples of a length that a judge does not take are refused before anything is done",
                "[experiments][errors]") {
  const Scratch scratch("length_judged");
  const std::string run = (scratch / "run").string();
  const Outcome outcome = run_program("run configs/digits.yaml train.steps=1 sampling.length=32 out=" + run, scratch);
  CATCH_CHECK(outcome.code == 2);
  CATCH_CHECK_THAT(outcome.err, Catch::Contains("the samples are [1, 32, 28]"));
  CATCH_CHECK_FALSE(std::filesystem::exists(run));
}
