// The program as a person meets it.

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "core/io/npz.h"
#include "core/io/safetensors.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

CATCH_TEST_CASE("the main job in small trains, samples, measures, compares and reports", "[experiments]") {
  const Scratch scratch("main_job");
  const std::string run = scratch / "run";
  const std::string command = "run " + tiny_config(scratch).string() + " out=" + run;
  const Outcome first = run_program(command, scratch);
  CATCH_CAPTURE(first.err, first.out);
  CATCH_REQUIRE(first.code == 0);
  for (const char* file :
       {"config.resolved.yaml", "environment.json", "metrics.jsonl", "metrics.json", "report.html",
        "model/model.safetensors", "model/thaw.yaml", "model/card.md", "samples/samples.npz", "pictures/index.json",
        "previews/step_0000006.png", "events", "checkpoints/step_0000012.safetensors"})
    CATCH_CHECK(fs::exists(fs::path(run) / file));

  const nlohmann::json metrics = json_of(fs::path(run) / "metrics.json");
  for (const char* name : {"class_agreement", "frechet", "frechet_floor", "frechet_noise"})
    CATCH_CHECK(metrics.at(name).is_number());
  CATCH_CHECK(metrics["frechet_floor"] < metrics["frechet_noise"]);
  const auto& cells = metrics["compare"]["cells"];
  CATCH_REQUIRE(cells.size() == 4);
  CATCH_CHECK(cells[1]["evaluations_used"] == 5);  // ddim: five steps
  CATCH_CHECK(cells[3]["evaluations_used"] == 5);  // heun: two steps of two and the one into the clean level
  CATCH_CHECK(cells[3]["steps"] == 3);

  const auto arrays = read_npz(fs::path(run) / "samples" / "samples.npz");
  CATCH_CHECK(arrays.at("arr_0").shape == std::vector<std::int64_t>{20, 28, 28, 1});
  CATCH_CHECK(arrays.at("arr_1").shape == std::vector<std::int64_t>{20});

  const Outcome again = run_program(command, scratch);
  CATCH_CHECK(again.code == 0);
  CATCH_CHECK_THAT(again.out, Catch::Contains("train     stands") && Catch::Contains("compare   stands"));

  // The resolved configuration is the same experiment.
  const Outcome resolved = run_program("run " + run + "/config.resolved.yaml out=" + run, scratch);
  CATCH_CHECK_THAT(resolved.out, Catch::Contains("train     stands") && Catch::Contains("sample    stands"));

  const Outcome other = run_program(command + " train.batch=8", scratch);
  CATCH_CHECK(other.code == 2);
  CATCH_CHECK_THAT(other.err, Catch::Contains("another configuration") && Catch::Contains("--fresh"));

  const Outcome sampled =
      run_program("sample " + run + " label=7 n=3 out=" + (scratch / "sevens.png").string(), scratch);
  CATCH_CHECK(sampled.code == 0);
  CATCH_CHECK(read_file(scratch / "sevens.png").substr(1, 3) == "PNG");
}

CATCH_TEST_CASE("a training killed at any moment and run again ends in the same files to the bit",
                "[experiments][resume]") {
  const Scratch scratch("resume");
  const std::string config = tiny_config(scratch).string();
  const std::string whole = scratch / "whole";
  CATCH_REQUIRE(run_program("train " + config + " out=" + whole, scratch).code == 0);
  int interrupted = 0;
  for (const char* kill : {"-s KILL 0.7", "-s KILL 1.1", "-s INT 0.9", "-s KILL 1.4", "-s INT 0.5"}) {
    const std::string broken = scratch / "broken";
    fs::remove_all(broken);
    // Several rounds with the same fuse; the last one is left to finish.
    for (int round = 0; round < 2; ++round)
      if (run_program("train " + config + " out=" + broken, scratch, std::string("timeout ") + kill).code != 0)
        ++interrupted;
    const Outcome last = run_program("train " + config + " out=" + broken, scratch);
    CATCH_CAPTURE(kill, last.err);
    CATCH_REQUIRE(last.code == 0);
    for (const char* file : {"checkpoints/step_0000012.safetensors", "model/model.safetensors"})
      CATCH_CHECK(read_file(fs::path(whole) / file) == read_file(fs::path(broken) / file));
    CATCH_CHECK(log_of(whole) == log_of(broken));
  }
  CATCH_CHECK(interrupted >= 2);  // else nothing was tested
}

CATCH_TEST_CASE("a sample is the same to the bit whatever the number of samples asked for",
                "[experiments][determinism]") {
  const Scratch scratch("batch");
  const std::string run = scratch / "run";
  CATCH_REQUIRE(run_program("train " + tiny_config(scratch).string() + " out=" + run, scratch).code == 0);
  const auto samples = [&](const std::string& settings) {
    const std::string out = scratch / "s.npz";
    CATCH_REQUIRE(run_program("sample " + run + " label=4 sampler=ddpm out=" + out + " " + settings, scratch).code ==
                  0);
    return read_npz(out).at("arr_0").bytes;
  };
  const auto three = samples("n=3"), many = samples("n=13"), again = samples("n=13");
  CATCH_CHECK(std::equal(three.begin(), three.end(), many.begin()));
  CATCH_CHECK(many == again);
  CATCH_CHECK(many != samples("n=13 seed=4"));
}

CATCH_TEST_CASE("mistakes get one line, the right exit code, and leave nothing behind", "[experiments][errors]") {
  const Scratch scratch("errors");
  const auto fails = [&](const std::string& arguments, int code, const std::string& message) {
    const Outcome outcome = run_program(arguments, scratch);
    CATCH_CAPTURE(arguments, outcome.err);
    CATCH_CHECK(outcome.code == code);
    CATCH_CHECK_THAT(outcome.err, Catch::Contains(message));
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CATCH_CHECK_FALSE(fs::exists(scratch / "out"));
  };
  const std::string config = tiny_config(scratch).string(), out = " out=" + (scratch / "out").string();
  fails("rnu " + config, 2, "Did you mean \"run\"?");
  fails("run " + config + out + " samplr=ddim", 2, "Did you mean \"sampler\"?");
  fails("run " + config + out + " sampler=dimm", 2, "Did you mean \"ddim\"?");
  fails("run " + config + out + " train.steps=many", 2, "expected a whole number, got \"many\"");
  fails("run " + config + out + " train.batch=0", 2, "must be at least 1, got 0");
  fails("run " + config + out + " schedule=flow objective.prediction=noise", 2, "cannot start from alpha = 0");
  fails("run " + config + out + " backbone=pooled_classifier", 2, "does not go with objective");
  fails("run " + config + out + " --frehs", 2, "Did you mean \"fresh\"?");
  fails("run " + (scratch / "missing.yaml").string() + out, 2, "missing.yaml");
  fails("run " + config + out + " dataset.path=" + (scratch / "nowhere").string(), 3, "holds neither train-images");
  fails("run " + config + out + " backbone.multipliers=[1,2,2,2]", 2, "halve the picture");
  fails("run " + config + out + " device=cuda", 5, "device: cuda");
  fails("sample " + (scratch / "nowhere").string(), 3, "no model directory");
  fails("describe dpmpp_2n", 2, "Did you mean \"dpmpp_2m\"?");
}

CATCH_TEST_CASE("a lying IDX header is refused before its memory is taken", "[experiments][errors]") {
  const Scratch scratch("idx");
  fs::create_directories(scratch / "data");
  // 2^31 - 1 pictures of 28 x 28 claimed, one byte held.
  const char header[] = "\0\0\x08\x03\x7f\xff\xff\xff\0\0\0\x1c\0\0\0\x1c\0";
  std::ofstream(scratch / "data" / "train-images-idx3-ubyte", std::ios::binary).write(header, 17);
  const Outcome outcome = run_program("run " + tiny_config(scratch).string() + " out=" + (scratch / "out").string() +
                                          " dataset.path=" + (scratch / "data").string(),
                                      scratch);
  CATCH_CAPTURE(outcome.err);
  CATCH_CHECK(outcome.code == 3);
  CATCH_CHECK_THAT(outcome.err, Catch::Contains("train-images-idx3-ubyte"));
}

CATCH_TEST_CASE("list gives bare names on a pipe and describe the options and the plan", "[experiments][cli]") {
  const Scratch scratch("cli");
  std::istringstream names(run_program("list samplers", scratch).out);
  std::set<std::string> known;
  for (std::string name; std::getline(names, name);) {
    CATCH_CAPTURE(name);
    CATCH_CHECK(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos);
    CATCH_CHECK(known.insert(name).second);
  }
  for (const char* name : {"consistency", "ddim", "ddpm", "dpmpp_2m", "euler", "heun"})
    CATCH_CHECK(known.count(name) == 1);
  const std::string described = run_program("describe ddim plan.steps=2", scratch).out;
  CATCH_CHECK_THAT(described, Catch::Contains("eta") && Catch::Contains("2010.02502") || Catch::Contains("Song"));
  const Outcome doctor = run_program("doctor", scratch);
  CATCH_CHECK(doctor.code == 0);
  for (const char* part : {"libtorch", "device", "cuda", "libavcodec", "libsndfile", "free here"})
    CATCH_CHECK_THAT(doctor.out, Catch::Contains(part));
}
