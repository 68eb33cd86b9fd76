// The program when the machine fails it: disk, memory, signals; and what it makes of files that change between calls.

#include <sys/wait.h>
#include <csignal>
#include <fstream>
#include <set>
#include <vector>

#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

std::string last_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

std::set<std::string> temporaries(const fs::path& folder) {
  std::set<std::string> found;
  if (!fs::exists(folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".tmp") found.insert(entry.path().string());
  return found;
}

// Throws when a file that is written whole is not.
void read_everything(const fs::path& run) {
  if (!fs::exists(run)) return;
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    const fs::path path = entry.path();
    CATCH_CAPTURE(path);
    if (path.extension() == ".json") CATCH_CHECK_NOTHROW(json_of(path));
    if (path.extension() == ".png") CATCH_CHECK(read_file(path).find("IEND") != std::string::npos);
    if (path.extension() == ".jsonl") CATCH_CHECK_NOTHROW(log_of(run));
    if (path.extension() == ".html") CATCH_CHECK_THAT(read_file(path), Catch::Contains("</html>"));
  }
}

void check_same_outcome(const fs::path& whole, const fs::path& broken) {
  for (const char* file : {"checkpoints/step_0000012.safetensors", "model/model.safetensors", "samples/samples.npz",
                           "previews/step_0000006.png", "pictures/compare_ddim_5.png"}) {
    CATCH_CAPTURE(file);
    CATCH_CHECK(read_file(whole / file) == read_file(broken / file));
  }
  CATCH_CHECK(log_of(whole) == log_of(broken));
  for (const char* metric : {"class_agreement", "frechet"})
    CATCH_CHECK(json_of(whole / "metrics.json")[metric] == json_of(broken / "metrics.json")[metric]);
}

// Starts the program and sends it `signal` once `file` has `bytes`. Its exit code as run_program gives it.
int run_until(const std::string& arguments, const Scratch& scratch, const fs::path& file, std::uintmax_t bytes,
              int signal) {
  const std::string command = "exec " THAW_BINARY " " + arguments + " >" + (scratch / "stdout").string() + " 2>" +
                              (scratch / "stderr").string();
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    std::error_code error;
    if (const auto size = fs::file_size(file, error); !error && size >= bytes) {
      kill(child, signal);
      waitpid(child, &status, 0);
      break;
    }
    usleep(500);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

CATCH_TEST_CASE(
    "a disk that is full at any file ends the run with one line, and with space it goes on to the same bits",
    "[experiments][disk]") {
  const Scratch scratch("full_disk");
  const std::string run = scratch / "run", command = tiny_config(scratch).string() + " out=";
  CATCH_REQUIRE(run_program("run " + command + (scratch / "whole").string(), scratch).code == 0);
  // A limit on the size of each file stands for the full disk: no privilege is needed, and which file is refused
  // follows from the limit, given in units of 512 bytes.
  std::vector<std::string> refused;
  const auto run_within = [&](const std::string& verb, const std::string& limit) {
    const Outcome outcome = run_program(verb + command + run, scratch, "trap '' XFSZ; ulimit -f " + limit + ";");
    CATCH_CAPTURE(limit, outcome.err);
    CATCH_CHECK(temporaries(run).empty());
    read_everything(run);
    if (outcome.code == 0) return;
    CATCH_CHECK(outcome.code == 5);
    // A log that fits in part says "No space left on device", a file written whole "File too large".
    const std::string said = last_line(outcome.err);
    const std::size_t end = said.find(": cannot write: ");
    CATCH_REQUIRE(end != std::string::npos);
    CATCH_CHECK(said.starts_with(run));
    refused.push_back(fs::path(said.substr(0, end)).filename().string());
  };
  run_within("run ", "1");
  run_within("run ", "8");
  run_within("train ", "10000");
  for (const char* limit : {"8", "40", "70", "400", "10000"}) run_within("run ", limit);
  CATCH_CHECK(refused == std::vector<std::string>{"config.resolved.yaml", "step_0000004.safetensors",
                                                  "samples.npz.partial", "compare_ddim_1.partial", "model.safetensors",
                                                  "report.html"});
  check_same_outcome(scratch / "whole", run);
}

CATCH_TEST_CASE("a small disk that fills up and is enlarged gives the same run to the bit", "[experiments][disk]") {
  const Scratch scratch("small_disk");
  const std::string disk = scratch / "disk", command = "run " + tiny_config(scratch).string() + " out=";
  if (std::system("unshare -rm mount -t tmpfs none /mnt 2>/dev/null") != 0) {
    CATCH_SUCCEED("no disk can be mounted here; the limit on file sizes above stands for it");
    return;
  }
  CATCH_REQUIRE(run_program(command + (scratch / "whole").string(), scratch).code == 0);
  fs::create_directories(disk);
  const std::string thaw = std::string(THAW_BINARY " ") + command + disk + "/run";
  std::ofstream(scratch / "script") << "mount -t tmpfs -o size=700k none " << disk << "\n"
                                    << thaw << " >/dev/null 2>" << (scratch / "err").string() << "; echo $? >"
                                    << (scratch / "code").string() << "\nfind " << disk << " -name '*.tmp' >"
                                    << (scratch / "left").string() << "\nmount -o remount,size=64m " << disk << "\n"
                                    << thaw << " && cp -r " << disk << "/run " << (scratch / "run").string() << "\n";
  const std::string script = "unshare -rm sh " + (scratch / "script").string() + " >/dev/null 2>&1";
  CATCH_REQUIRE(std::system(script.c_str()) == 0);
  CATCH_CHECK(read_file(scratch / "code") == "5\n");
  CATCH_CHECK_THAT(last_line(read_file(scratch / "err")), Catch::Contains("No space left on device"));
  CATCH_CHECK(read_file(scratch / "left").empty());
  check_same_outcome(scratch / "whole", scratch / "run");
}

CATCH_TEST_CASE("running out of memory while sampling names the stage and ends with the code of resources",
                "[experiments][memory]") {
  const Scratch scratch("memory");
  const std::string run = scratch / "run", command = tiny_config(scratch).string() + " out=" + run;
  CATCH_REQUIRE(run_program("train " + command, scratch).code == 0);
  // 10^6 samples at a time are 3.1 GB before the network sees them.
  const std::string limit = "ulimit -v 4000000;", large = " sampling.micro_batch=1000000";
  const Outcome sampled =
      run_program("sample " + run + large + " n=1 out=" + (scratch / "x.npz").string(), scratch, limit);
  CATCH_CAPTURE(sampled.err);
  CATCH_CHECK(sampled.code == 5);
  CATCH_CHECK_THAT(last_line(sampled.err), Catch::Contains("out of memory; lower sampling.micro_batch"));
  CATCH_CHECK_FALSE(fs::exists(scratch / "x.npz"));
  const Outcome stage = run_program("run " + command + large, scratch, limit);
  CATCH_CAPTURE(stage.err);
  CATCH_CHECK(stage.code == 5);
  CATCH_CHECK_THAT(stage.err, Catch::StartsWith("sample: out of memory; lower sampling.micro_batch"));
  CATCH_CHECK(std::count(stage.err.begin(), stage.err.end(), '\n') == 1);
}

CATCH_TEST_CASE("sampling that is killed goes on behind its last whole part and ends in the same bytes",
                "[experiments][resume]") {
  const Scratch scratch("sampling");
  const std::string run = scratch / "run", whole = scratch / "whole";
  const std::string settings = tiny_config(scratch).string() + " sampler=ddpm steps=12 n=80 compare.samplers=[] out=";
  CATCH_REQUIRE(run_program("run " + settings + whole, scratch).code == 0);
  const fs::path samples = fs::path(run) / "samples" / "samples.npz", partial = samples.string() + ".partial";
  CATCH_REQUIRE(run_program("train " + settings + run, scratch).code == 0);
  constexpr std::uintmax_t kPart = 10 * 28 * 28;
  CATCH_CHECK(run_until("run " + settings + run, scratch, partial, 2 * kPart, SIGKILL) == 128 + SIGKILL);
  CATCH_CHECK_FALSE(fs::exists(samples));
  std::ofstream(partial, std::ios::app) << "torn";
  CATCH_CHECK(run_until("run " + settings + run, scratch, partial, 4 * kPart, SIGINT) == 75);
  CATCH_CHECK_THAT(last_line(read_file(scratch / "stderr")),
                   Catch::Contains("of 80 samples; kept in " + partial.string()));
  const Outcome last = run_program("run " + settings + run, scratch);
  CATCH_CHECK(last.code == 0);
  CATCH_CHECK_THAT(last.err, Catch::Contains("sample: going on behind sample"));
  CATCH_CHECK(read_file(samples) == read_file(fs::path(whole) / "samples" / "samples.npz"));
  CATCH_CHECK_FALSE(fs::exists(partial));

  // A part of other samples is not gone on with.
  const std::string out = " out=" + (scratch / "s.npz").string();
  CATCH_CHECK(run_until("sample " + run + " n=80 seed=1" + out, scratch, scratch / "s.npz.partial", 2 * kPart,
                        SIGKILL) == 128 + SIGKILL);
  const Outcome other = run_program("sample " + run + " n=20 seed=2" + out, scratch);
  CATCH_CHECK(other.code == 0);
  CATCH_CHECK_THAT(other.err, !Catch::Contains("going on"));
}

CATCH_TEST_CASE("a comparison that is killed within a cell goes on behind its last whole part",
                "[experiments][resume]") {
  const Scratch scratch("cell");
  const std::string run = scratch / "run", whole = scratch / "whole";
  const std::string settings = "compare " + run +
                               " compare.samplers=[ddpm,ddim] compare.evaluations=[12] compare.n=60 "
                               "sampling.micro_batch=10 out=";
  CATCH_REQUIRE(run_program("train " + tiny_config(scratch).string() + " out=" + run, scratch).code == 0);
  CATCH_REQUIRE(run_program(settings + whole, scratch).code == 0);
  const std::string again = scratch / "again";
  const fs::path partial = fs::path(again) / "pictures" / "compare_ddpm_12.partial";
  CATCH_CHECK(run_until(settings + again, scratch, partial, 2 * 10 * 28 * 28 * sizeof(float), SIGKILL) ==
              128 + SIGKILL);
  CATCH_REQUIRE(fs::exists(partial));
  const Outcome last = run_program(settings + again, scratch);
  CATCH_CHECK(last.code == 0);
  CATCH_CHECK_THAT(last.err, Catch::Contains("sample: going on behind sample"));
  CATCH_CHECK_FALSE(fs::exists(partial));
  const auto cells = [](const std::string& folder) {
    auto value = nlohmann::json::parse(read_file(fs::path(folder) / "metrics.json"))["compare"]["cells"];
    for (auto& cell : value) {
      cell.erase("seconds");
      cell.erase("seconds_per_sample");
    }
    return value;
  };
  CATCH_CHECK(cells(again) == cells(whole));
}

CATCH_TEST_CASE("a finished stage is done again when the files it used hold something else", "[experiments][stages]") {
  const Scratch scratch("inputs");
  const fs::path judge = scratch / "judge", data = scratch / "data", weights = judge / "model.safetensors";
  fs::copy("models/digit_judge", judge);
  fs::create_directories(data);
  for (const char* name : {"train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"})
    CATCH_REQUIRE(std::system((std::string("gzip -dc data/mnist/") + name + "-ubyte.gz >" +
                               (data / (std::string(name) + "-ubyte")).string())
                                  .c_str()) == 0);
  const std::string run = scratch / "run";
  const std::string command = "run " + tiny_config(scratch).string() + " evaluate.judge=" + judge.string() +
                              " dataset.path=" + data.string() + " compare.samplers=[] out=" + run;
  CATCH_REQUIRE(run_program(command, scratch).code == 0);

  // The same contents written again, at another time.
  write_file(weights, read_file(weights));
  CATCH_CHECK_THAT(run_program(command, scratch).out, Catch::Contains("evaluate  stands"));

  std::string bytes = read_file(weights);
  bytes[bytes.size() - 2] = static_cast<char>(bytes[bytes.size() - 2] ^ 1);
  write_file(weights, bytes);
  const std::string judged = run_program(command, scratch).out;
  CATCH_CHECK_THAT(judged, Catch::Contains("train     stands") && Catch::Contains("sample    stands") &&
                               Catch::Contains("evaluate  done"));

  fs::remove(fs::path(run) / "samples" / "samples.npz");
  CATCH_CHECK_THAT(run_program(command, scratch).out, Catch::Contains("sample    done"));

  std::fstream labels(data / "train-labels-idx1-ubyte", std::ios::in | std::ios::out | std::ios::binary);
  labels.seekp(8);
  labels.put('\1');  // the first label is 5
  labels.close();
  const Outcome changed = run_program(command, scratch);
  CATCH_CHECK(changed.code == 2);
  CATCH_CHECK_THAT(changed.err, Catch::Contains("its data has changed") && Catch::Contains("--fresh"));
}

CATCH_TEST_CASE("metrics that a run cannot have are refused with the reason before it starts",
                "[experiments][errors]") {
  const Scratch scratch("metrics");
  const auto fails = [&](const std::string& config, const std::string& settings, int code, const std::string& message) {
    const Outcome outcome =
        run_program("run " + config + " " + settings + " out=" + (scratch / "run").string(), scratch);
    CATCH_CAPTURE(settings, outcome.err);
    CATCH_CHECK(outcome.code == code);
    CATCH_CHECK_THAT(outcome.err, Catch::Contains(message));
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CATCH_CHECK_FALSE(fs::exists(scratch / "run"));
  };
  const std::string tiny = tiny_config(scratch).string(), classifier = "configs/digit_judge.yaml";
  fails(tiny, "evaluate.metrics=[accuracy]", 2, "evaluate.metrics: accuracy measures a classifier");
  fails(classifier, "evaluate.metrics=[frechet] evaluate.features=models/digit_features", 2,
        "evaluate.metrics: frechet measures samples, and a classifier gives none");
  fails(tiny, "evaluate.judge=models/digits", 3, "models/digits: is not a classifier");
  fails(tiny, "evaluate.judge=" + (scratch / "nowhere").string(), 3, "nowhere: is no model directory");
}

CATCH_TEST_CASE("what killed writers left is swept at the next run of the folder", "[experiments][disk]") {
  const Scratch scratch("sweep");
  const fs::path run = scratch / "run";
  fs::create_directories(run / "checkpoints");
  std::ofstream(run / "checkpoints" / ".thaw-4194305-0.tmp") << "half";
  std::ofstream(run / ".thaw-4194305-1.tmp") << "half";
  CATCH_REQUIRE(run_program("train " + tiny_config(scratch).string() + " out=" + run.string(), scratch).code == 0);
  CATCH_CHECK(temporaries(run).empty());
}
