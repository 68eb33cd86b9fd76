// What people say of what a network is told: classes and numbers by their names. And a codec that is of another rate
// than its data.

#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/wav.h"
#include "experiments/told_by_name.h"
#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;

namespace {

const std::vector<std::string> kNames{"hat", "kick", "2step"};

std::string refusal(const std::string& text, const DataSpec& spec) {
  try {
    label_from(text, spec);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

/// Two classes of three tones each, and a configuration that learns them in two steps.
std::string put_tones(const Scratch& scratch, const std::string& more = "", const std::string& data = "") {
  for (const char* name : {"hat", "kick"})
    for (int i = 0; i < 3; ++i) {
      std::vector<float> samples;
      for (int t = 0; t < 96; ++t) samples.push_back(static_cast<float>(0.5 * std::sin(0.1 * (1 + i) * t)));
      write_file(scratch / concat("set/", name, "/", i, ".wav"), encode_wav(samples, {1, 8000}));
    }
  const std::string path = scratch / "t.yaml";
  write_file(path, concat("seed: 1\nprecision: float32\ndevice: cpu\ndataset: {type: sound_folder, path: ",
                          (scratch / "set").string(), ", rate: 8000, samples: 64, test_share: 0.3", data,
                          "}\ncodec: {type: waveform, rate: 8000}\n"
                          "backbone: {type: diffwave, width: 8, depth: 2, embedding: 16",
                          more,
                          "}\ntrain: {steps: 2, batch: 2, optimizer: {warmup: 1}}\nsampler: ddim\n"
                          "grid: {type: trailing, steps: 2}\nsampling: {micro_batch: 2}\nevaluate: {n: 2, metrics: "
                          "[]}\n"));
  return path;
}

Outcome expect(int code, const std::string& arguments, const Scratch& scratch) {
  const Outcome outcome = run_program(arguments, scratch);
  CATCH_CAPTURE(arguments, outcome.err);
  CATCH_REQUIRE(outcome.code == code);
  return outcome;
}

}  // namespace

CATCH_TEST_CASE("a label is a number or a name, and digits are always a number", "[experiments][labels]") {
  const DataSpec spec{{1, 8}, 3, 0, kNames}, numbered{{1, 8}, 3}, none{{1, 8}};
  CATCH_CHECK(label_from("", spec) == -1);
  CATCH_CHECK(label_from("2", spec) == 2);
  CATCH_CHECK(label_from("kick", spec) == 1);
  CATCH_CHECK(label_from("2step", spec) == 2);
  CATCH_CHECK(label_from("7", {{1, 8}, 2, 0, {"7", "8"}}) == 7);  // refused later, as ever
  CATCH_CHECK(refusal("kik", spec) ==
              "command line: label: unknown class \"kik\". Did you mean \"kick\"? Known: hat, kick, 2step, or 0 to 2.");
  CATCH_CHECK_THAT(refusal("kick", numbered), Catch::Contains("knows no names of classes, only 0 to 2"));
  CATCH_CHECK_THAT(refusal("kick", none), Catch::Contains("has no classes"));
  CATCH_CHECK_THAT(refusal("-1", spec), Catch::Contains("must be at least 0"));
  const DataSpec many{{1, 8}, 1000, 0, std::vector<std::string>(1000, "name")};
  CATCH_CHECK(refusal("x", many).size() < 600);
}

CATCH_TEST_CASE("names that cannot stand in a line are none", "[experiments][labels]") {
  CATCH_CHECK(fit_class_names(kNames, 3) == kNames);
  CATCH_CHECK(fit_class_names(kNames, 2).empty());
  CATCH_CHECK(fit_class_names({"a", "b\nc"}, 2).empty());
  CATCH_CHECK(fit_class_names({"a", ""}, 2).empty());
  CATCH_CHECK(fit_class_names({"a", "\xff"}, 2).empty());
  CATCH_CHECK(fit_class_names({"a", std::string(257, 'b')}, 2).empty());
}

CATCH_TEST_CASE("a model keeps the names of its classes and draws by them", "[experiments][labels]") {
  const Scratch scratch("labels");
  const std::string run = (scratch / "run").string();
  expect(0, "train " + put_tones(scratch) + " out=" + run, scratch);
  const std::string yaml = read_file(run + "/model/thaw.yaml");
  CATCH_CHECK(yaml.find("class_names: [hat, kick]") != std::string::npos);
  const auto drawn = [&](const std::string& label) {
    const std::string out = scratch / ("drawn_" + label + ".npz");
    expect(0, "sample " + run + " n=2 label=" + label + " out=" + out, scratch);
    return read_file(out);
  };
  CATCH_CHECK(drawn("kick") == drawn("1"));
  CATCH_CHECK(drawn("kick") != drawn("hat"));
  CATCH_CHECK_THAT(expect(2, "sample " + run + " label=kik", scratch).err,
                   Catch::Contains("Did you mean \"kick\"? Known: hat, kick, or 0 to 1."));

  // A folder of an earlier version, and one that lies.
  const std::string line = "  class_names: [hat, kick]\n";
  std::string old = yaml;
  old.erase(old.find(line), line.size());
  write_file(run + "/model/thaw.yaml", old);
  CATCH_CHECK_THAT(expect(2, "sample " + run + " label=kick", scratch).err, Catch::Contains("only 0 to 1"));
  expect(0, "sample " + run + " n=1 label=1 out=" + (scratch / "old.npz").string(), scratch);
  for (const std::string names : {"[hat]", "[hat, kick, kick]", "[hat, \"\"]"}) {
    std::string other = yaml;
    other.replace(other.find(line), line.size(), "  class_names: " + names + "\n");
    write_file(run + "/model/thaw.yaml", other);
    CATCH_CHECK_THAT(expect(2, "sample " + run + " label=kick", scratch).err, Catch::Contains("data_spec.class_names"));
  }
}

CATCH_TEST_CASE("sounds of another rate than the codec's are refused before anything is trained",
                "[experiments][rates]") {
  const Scratch scratch("rates");
  const std::string config = put_tones(scratch), run = " out=" + (scratch / "run").string();
  for (const std::string codec : {"codec.rate=16000", "codec=waveform", "codec=stft", "codec=mdct", "codec=mel"}) {
    const std::string error = expect(2, "train " + config + " " + codec + run, scratch).err;
    CATCH_CHECK_THAT(error,
                     Catch::Contains("codec.rate: 16000 samples a second, but the dataset gives 8000. Set both"));
    CATCH_CHECK(!std::filesystem::exists(scratch / "run/model"));
  }
  CATCH_CHECK(expect(2, "roundtrip " + config + " codec.rate=16000", scratch).err.find("gives 8000") !=
              std::string::npos);
  // Latents are of the rate that their autoencoder's own codec is of.
  const std::string oobleck =
      "seed: 1\nprecision: float32\ndevice: cpu\ndataset: {type: sound_folder, path: " + (scratch / "set").string() +
      ", rate: 8000, samples: 64}\ncodec: {type: waveform, rate: 8000}\nobjective: autoencoding\n"
      "backbone: {type: oobleck, width: 4, multipliers: [1, 2], strides: [2, 2], latent_channels: 4}\n"
      "train: {steps: 1, batch: 2, optimizer: {warmup: 1}}\nevaluate: {n: 2, metrics: []}\n";
  write_file(scratch / "ae.yaml", oobleck);
  expect(0, "train " + (scratch / "ae.yaml").string() + " out=" + (scratch / "ae").string(), scratch);
  const std::string latent =
      "train " + config + " 'codec={type: latent, autoencoder: " + (scratch / "ae").string() + "}'" + run;
  CATCH_CHECK_THAT(expect(2, latent + " dataset.rate=16000", scratch).err,
                   Catch::Contains("codec.rate: 8000 samples a second, but the dataset gives 16000"));
}

CATCH_TEST_CASE("numbers are told by their names, all of them", "[experiments][labels]") {
  const Scratch scratch("numbers");
  const std::string run = (scratch / "run").string(), out = " out=" + (scratch / "drawn.npz").string();
  const std::string config = put_tones(scratch, ", numbers: [seconds_start, seconds_total]", ", told_seconds: true");
  expect(0, "train " + config + " out=" + run, scratch);
  expect(0, "sample " + run + " n=1 'told={seconds_start: 0, seconds_total: 2}'" + out, scratch);
  expect(0, "sample " + run + " n=3" + out, scratch);  // those of held-out sounds
  const auto refused = [&](const std::string& told) { return expect(2, "sample " + run + " " + told, scratch).err; };
  CATCH_CHECK_THAT(refused("'told={seconds_start: 0}'"), Catch::Contains("seconds_total"));
  CATCH_CHECK_THAT(refused("'told={seconds_start: 0, seconds_total: 2, minutes: 1}'"), Catch::Contains("minutes"));
  CATCH_CHECK_THAT(refused("'told={seconds_start: 0, seconds_total: .nan}'"), Catch::Contains("seconds_total"));
  // Data that tells none.
  CATCH_CHECK_THAT(expect(2, "train " + config + " dataset.told_seconds=false out=" + run + "2", scratch).err,
                   Catch::Contains("was told no seconds_start"));
}
