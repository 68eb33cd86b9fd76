#include "experiments/pipeline.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/text.h"
#include "core/base/version.h"
#include "core/checkpoint.h"
#include "core/device.h"
#include "core/io/json_guard.h"
#include "core/io/npz.h"
#include "experiments/comparison.h"
#include "experiments/evaluation.h"
#include "experiments/report.h"
#include "experiments/sampling.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxRecordBytes = std::uint64_t{64} << 20;
constexpr int kMaxRecordDepth = 16;

const std::vector<std::string> kTrainSections{"seed",      "precision", "dataset", "codec", "schedule",
                                              "objective", "backbone",  "train",   "data_spec"};
const std::vector<std::string> kSampleSections{"sampler", "grid", "guidance", "sampling", "evaluate"};

nlohmann::json read_record(const fs::path& path) {
  return fs::exists(path) ? parse_json_file(path, kMaxRecordBytes, kMaxRecordDepth) : nlohmann::json::object();
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", std::gmtime(&now));
  return concat(text, " UTC");
}

class Pipeline {
 public:
  Pipeline(const Experiment& experiment, const PipelineOptions& options)
      : experiment_(experiment), options_(options), folder_(options.folder), model_(experiment.make_model()),
        stages_(read_record(folder_ / "stages.json")) {}

  void run() {
    make_folder(folder_);
    train_hash_ = experiment_.hash_of(kTrainSections);
    // Refuses a folder of another configuration before anything in it is replaced.
    if (wants("train")) expect_own_checkpoints(folder_ / "checkpoints", train_hash_);
    write_file(folder_ / "config.resolved.yaml", experiment_.config().resolved());
    write_environment(model_, folder_, options_.command);
    stage("train", kTrainSections, [&] { train_stage(); });
    if (wants("train") || wants("sample")) load_weights();
    if (experiment_.is_classifier()) {
      stage("evaluate", sections({}), [&] { merge_metrics(measure_accuracy(experiment_, model_)); });
    } else {
      stage("sample", sections({}), [&] { sample_stage(); });
      stage("evaluate", sections({}), [&] { evaluate_stage(); });
      if (!experiment_.compare().samplers.empty())
        stage("compare", sections({"compare"}), [&] {
          load_evaluator();
          merge_metrics({{"compare", compare_samplers(experiment_, model_, *evaluator_, folder_ / "pictures")}});
        });
    }
    if (wants("train")) save_model(folder_ / "model", experiment_, model_, "float32", card_facts(experiment_, folder_));
    if (wants("report")) report_stage();
  }

 private:
  bool wants(const std::string& name) const {
    return std::find(options_.stages.begin(), options_.stages.end(), name) != options_.stages.end();
  }

  std::vector<std::string> sections(std::vector<std::string> more) const {
    std::vector<std::string> all = kTrainSections;
    all.insert(all.end(), kSampleSections.begin(), kSampleSections.end());
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  template <class Work>
  void stage(const std::string& name, const std::vector<std::string>& sections, const Work& work) {
    if (!wants(name)) return;
    const std::string hash = experiment_.hash_of(sections);
    if (stages_.contains(name) && stages_[name]["config"] == hash) {
      std::printf("%-9s stands (%s)\n", name.c_str(),
                  format_duration_s(stages_[name]["seconds"].get<double>()).c_str());
      return;
    }
    const Progress clock("", 1);
    work();
    stages_[name] = {{"config", hash}, {"seconds", clock.seconds()}};
    write_file(folder_ / "stages.json", stages_.dump(1) + "\n");
    std::printf("%-9s done in %s\n", name.c_str(), format_duration_s(clock.seconds()).c_str());
    std::fflush(stdout);
  }

  void train_stage() {
    TrainJob job = experiment_.train_job(model_, folder_);
    job.config_hash = train_hash_;
    const std::string init = experiment_.train_settings().text("init");
    if (!init.empty())
      assign(model_.backbone->parameters().all(), load_tensors(fs::path(init) / "model.safetensors").tensors, init);
    std::printf("train     %s weights, %lld steps of %lld, %s, %s\n",
                format_short(static_cast<double>(num_weights(model_.backbone->parameters().all())), 4).c_str(),
                static_cast<long long>(job.steps), static_cast<long long>(job.batch),
                describe_device(model_.device).c_str(), precision_name(model_.precision).c_str());
    std::fflush(stdout);
    if (!experiment_.is_classifier())
      job.preview = [&](std::int64_t step) {
        std::string number = std::to_string(step);
        number.insert(0, number.size() < 7 ? 7 - number.size() : 0, '0');
        const std::string file = concat("previews/step_", number, ".png");
        SampleRequest request = make_request(experiment_, 20);
        request.micro_batch = 20;
        write_file(folder_ / file,
                   experiment_.codec()->sheet_png(experiment_.codec()->decode(sample_all(model_, request)), 10));
        return file;
      };
    thaw::train(job);
  }

  // EMA weights of the last checkpoint: the model everything after training works with.
  void load_weights() {
    const auto state = load_newest_checkpoint(folder_ / "checkpoints", train_hash_);
    if (!state) throw DataError(concat(folder_.string(), ": holds no finished training; run `thaw train` first."));
    NamedTensors average;
    for (const auto& [name, tensor] : state->tensors)
      if (name.starts_with("ema.")) average.emplace_back(name.substr(4), tensor);
    assign(model_.backbone->parameters().all(), average, (folder_ / "checkpoints").string());
  }

  void load_evaluator() {
    if (!evaluator_) evaluator_.emplace(experiment_);
  }

  void sample_stage() {
    const std::int64_t n = experiment_.evaluate().n;
    SampleRequest request = make_request(experiment_, n);
    request.progress = "sample";
    save_samples(experiment_, model_, request, folder_ / "samples" / "samples.npz");
    const Samples samples = read_samples(folder_ / "samples" / "samples.npz");
    write_pictures(experiment_, model_, samples.raw, samples.labels, folder_ / "pictures");
  }

  void evaluate_stage() {
    load_evaluator();
    const Samples samples = read_samples(folder_ / "samples" / "samples.npz");
    nlohmann::json measured = evaluator_->measure(samples.raw, samples.labels);
    if (measured.contains("frechet")) {
      measured["frechet_floor"] = evaluator_->frechet_floor(samples.raw.size(0));
      measured["frechet_noise"] = evaluator_->frechet_noise(samples.raw.size(0));
    }
    measured["n"] = samples.raw.size(0);
    for (const auto& [name, value] : measured.items())
      if (value.is_number()) std::printf("          %-16s %s\n", name.c_str(), format_short(value.get<double>()).c_str());
    merge_metrics(measured);
  }

  void merge_metrics(const nlohmann::json& more) const {
    nlohmann::json metrics = read_record(folder_ / "metrics.json");
    metrics.update(more, true);
    write_file(folder_ / "metrics.json", metrics.dump(1) + "\n");
  }

  void report_stage() {
    nlohmann::json times = nlohmann::json::object();
    for (const auto& [name, record] : stages_.items()) times[name] = {{"seconds", record["seconds"]}};
    merge_metrics({{"stages", times}});
    write_report(folder_);
    std::printf("report    %s\n", (folder_ / "report.html").c_str());
  }

  const Experiment& experiment_;
  const PipelineOptions& options_;
  fs::path folder_;
  Model model_;
  nlohmann::json stages_;
  std::string train_hash_;
  std::optional<Evaluator> evaluator_;
};

}  // namespace

void save_samples(const Experiment& experiment, const Model& model, const SampleRequest& request, const fs::path& path) {
  make_folder(path.parent_path());
  NpzWriter writer(path);
  bool has_begun = false;
  const auto n = static_cast<std::int64_t>(request.samples.size());
  sample(model, request, [&](std::int64_t, const at::Tensor& x) {
    // NHWC, as the evaluators of the field read it.
    const at::Tensor raw = experiment.codec()->decode(x).movedim(1, -1).contiguous();
    if (!has_begun) {
      std::vector<std::int64_t> shape = raw.sizes().vec();
      shape[0] = n;
      writer.begin_array("arr_0", "|u1", std::move(shape));
      has_begun = true;
    }
    writer.write(std::string_view(static_cast<const char*>(raw.data_ptr()), raw.nbytes()));
  });
  writer.end_array();
  if (!request.labels.empty()) {
    writer.begin_array("arr_1", "<i8", {n});
    writer.write(std::string_view(reinterpret_cast<const char*>(request.labels.data()),
                                  request.labels.size() * sizeof(std::int64_t)));
    writer.end_array();
  }
  writer.commit();
}

Samples read_samples(const fs::path& path) {
  const auto arrays = read_npz(path);
  const auto data = arrays.find("arr_0");
  if (data == arrays.end() || data->second.descr != "|u1" || data->second.shape.size() < 2)
    throw DataError(concat(path.string(), ": expected arr_0 of uint8, channels last."));
  Samples samples;
  samples.raw = at::empty(data->second.shape, at::kByte);
  std::memcpy(samples.raw.data_ptr(), data->second.bytes.data(), data->second.bytes.size());
  samples.raw = samples.raw.movedim(-1, 1).contiguous();
  if (const auto labels = arrays.find("arr_1"); labels != arrays.end()) {
    if (labels->second.descr != "<i8" || labels->second.shape != std::vector<std::int64_t>{samples.raw.size(0)})
      throw DataError(concat(path.string(), ": expected arr_1 of int64, one a sample."));
    samples.labels.resize(static_cast<std::size_t>(samples.raw.size(0)));
    std::memcpy(samples.labels.data(), labels->second.bytes.data(), labels->second.bytes.size());
  }
  return samples;
}

void write_environment(const Model& model, const fs::path& folder, const std::string& command) {
  write_file(folder / "environment.json", nlohmann::json{{"program_version", std::string(version())},
                                                         {"commit", std::string(git_commit())},
                                                         {"changed_sources", built_from_changed_sources()},
                                                         {"libtorch", TORCH_VERSION},
                                                         {"device", describe_device(model.device)},
                                                         {"precision", precision_name(model.precision)},
                                                         {"threads", at::get_num_threads()},
                                                         {"command", command},
                                                         {"started", today()}}
                                                  .dump(1) +
                                              "\n");
}

std::vector<std::pair<std::string, std::string>> card_facts(const Experiment& experiment, const fs::path& folder) {
  const nlohmann::json metrics = read_record(folder / "metrics.json");
  const nlohmann::json environment = read_record(folder / "environment.json");
  std::vector<std::pair<std::string, std::string>> facts;
  for (const char* key : {"command", "commit", "device", "precision", "libtorch"})
    if (environment.contains(key)) facts.emplace_back(key, environment[key].get<std::string>());
  facts.emplace_back("seed", std::to_string(experiment.seed()));
  for (const auto& [name, value] : metrics.items())
    if (value.is_number()) facts.emplace_back(name, format_short(value.get<double>(), 5));
  facts.emplace_back("data", concat(experiment.config().section("dataset").type("mnist"),
                                    "; its licence stands beside the data"));
  facts.emplace_back("licence", "Apache-2.0");
  return facts;
}

void run_pipeline(const Experiment& experiment, const PipelineOptions& options) {
  Pipeline(experiment, options).run();
}

}  // namespace thaw
