#include "experiments/pipeline.h"

#include <algorithm>
#include <cstdio>
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
#include "core/weights_hash.h"
#include "experiments/comparison.h"
#include "experiments/evaluation.h"
#include "experiments/inputs.h"
#include "experiments/report.h"
#include "experiments/sampling.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxRecordBytes = std::uint64_t{64} << 20;
constexpr int kMaxRecordDepth = 16;

const std::vector<std::string> kTrainSections{"seed",      "precision", "dataset", "codec", "schedule",
                                              "objective", "backbone",  "task",    "train", "data_spec"};
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

// What a stage leaves behind; without it the stage is done again, whatever its record says.
std::vector<std::string> outputs_of(const std::string& stage) {
  if (stage == "train") return {"checkpoints"};
  if (stage == "sample") return {"samples/samples.npz", "pictures/index.json"};
  return {"metrics.json"};
}

class Pipeline {
 public:
  Pipeline(const Experiment& experiment, const PipelineOptions& options)
      : experiment_(experiment),
        options_(options),
        folder_(options.folder),
        model_(experiment.make_model()),
        stages_(read_record(folder_ / "stages.json")),
        inputs_(folder_ / "inputs.json") {}

  void run() {
    train_hash_ = hash_of("train");
    expect_all_can_be_done();
    make_folder(folder_);
    sweep_temporaries(folder_);
    inputs_.save();
    write_file(folder_ / "config.resolved.yaml", experiment_.config().resolved());
    write_environment(model_, folder_, options_.command);
    stage("train", [&] { train_stage(); });
    if (experiment_.trains() && (wants("train") || wants("sample"))) load_weights();
    if (experiment_.is_classifier()) {
      stage("evaluate", [&] { merge_metrics(measure_accuracy(experiment_, model_)); });
    } else if (experiment_.is_autoencoder()) {
      stage("evaluate", [&] { merge_metrics(measure_reconstruction(experiment_, model_, folder_ / "pictures")); });
    } else {
      take_length(experiment_, model_);
      stage("sample", [&] { sample_stage(); });
      stage("evaluate", [&] { evaluate_stage(); });
      stage("compare", [&] {
        load_evaluator();
        merge_metrics({{"compare", compare_samplers(experiment_, model_, *evaluator_, folder_)}});
      });
    }
    if (wants("train") && !experiment_.is_pretrained())
      save_model(folder_ / "model", experiment_, model_, "float32", card_facts(experiment_, folder_));
    if (wants("report")) report_stage();
  }

 private:
  bool wants(const std::string& name) const {
    const bool is_asked = std::find(options_.stages.begin(), options_.stages.end(), name) != options_.stages.end();
    if (name == "compare") return is_asked && experiment_.is_denoiser() && !experiment_.compare().samplers.empty();
    // Alone, training a network that has its weights is refused; among other stages there is nothing to do.
    if (name == "train") return is_asked && (experiment_.trains() || options_.stages.size() == 1);
    return is_asked;
  }

  // Refuses what a later stage would, and a folder of another configuration, before anything in it is replaced.
  void expect_all_can_be_done() {
    if (wants("train")) expect_own_checkpoints(folder_ / "checkpoints", train_hash_);
    if (wants("evaluate")) expect_measurable(experiment_);
    const auto is_to_do = [&](const char* name) { return wants(name) && !stands(name, hash_of(name)); };
    if (experiment_.is_denoiser() && (is_to_do("evaluate") || is_to_do("compare"))) load_evaluator();
  }

  // Over the resolved lines and the contents of the files that the stage depends on.
  std::string hash_of(const std::string& name) {
    std::vector<std::string> sections = kTrainSections;
    if (name != "train") sections.insert(sections.end(), kSampleSections.begin(), kSampleSections.end());
    if (name == "compare") sections.push_back("compare");
    std::string text = experiment_.hash_of(sections) + "\n" + hash_of_training_inputs();
    if (name == "evaluate" || name == "compare") text += hash_of_measuring_inputs();
    return content_hash(text);
  }

  std::string hash_of_training_inputs() {
    if (experiment_.is_pretrained() && own_weights_.empty())
      own_weights_ = hash_of_weights(model_.backbone->parameters().all()) + "\n";
    if (!experiment_.trains()) return own_weights_;
    std::string text =
        own_weights_ + inputs_.of("data", experiment_.dataset()->files(), InputHashes::Reading::kPieces) + "\n";
    const std::string init = experiment_.train_settings().text("init");
    if (!init.empty()) text += inputs_.of("train.init", model_files(init)) + "\n";
    if (const auto files = experiment_.objective()->files(); !files.empty())
      text += inputs_.of("objective", files) + "\n";
    if (const auto files = experiment_.codec()->files(); !files.empty()) text += inputs_.of("codec", files) + "\n";
    if (experiment_.train_settings().integer("validate_every") > 0) text += hash_of_held_out();
    return text;
  }

  std::string hash_of_measuring_inputs() {
    std::string text = hash_of_held_out();
    const EvaluateSettings& evaluate = experiment_.evaluate();
    for (const auto& [name, path] :
         {std::pair("evaluate.features", evaluate.features), std::pair("evaluate.judge", evaluate.judge)})
      if (!path.empty()) text += inputs_.of(name, model_files(path)) + "\n";
    if (const auto files = experiment_.metric_files(); !files.empty())
      text += inputs_.of("evaluate.metrics", files) + "\n";
    return text;
  }

  std::string hash_of_held_out() {
    const DatasetPtr data = experiment_.held_out();
    return (data ? inputs_.of("held-out data", data->files(), InputHashes::Reading::kPieces) : "") + "\n";
  }

  bool stands(const std::string& name, const std::string& hash) const {
    if (!stages_.contains(name) || stages_[name]["config"] != hash) return false;
    const std::vector<std::string> outputs = outputs_of(name);
    return std::all_of(outputs.begin(), outputs.end(),
                       [&](const std::string& output) { return fs::exists(folder_ / output); });
  }

  template <class Work>
  void stage(const std::string& name, const Work& work) {
    if (!wants(name)) return;
    const std::string hash = hash_of(name);
    if (stands(name, hash)) {
      std::printf("%-9s stands (%s)\n", name.c_str(),
                  format_duration_s(stages_[name]["seconds"].get<double>()).c_str());
      return;
    }
    const Progress clock("", 1);
    try {
      work();
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error)) throw;
      throw ResourceError(concat(name, ": out of memory; lower ", name == "train" ? "train" : "sampling",
                                 ".micro_batch, or choose a smaller network."));
    }
    stages_[name] = {{"config", hash}, {"seconds", clock.seconds()}};
    write_file(folder_ / "stages.json", stages_.dump(1) + "\n");
    std::printf("%-9s done in %s\n", name.c_str(), format_duration_s(clock.seconds()).c_str());
    std::fflush(stdout);
  }

  void train_stage() {
    TrainJob job = experiment_.train_job(model_, folder_);
    job.config_hash = train_hash_;
    start();
    job.low_rank = low_rank_;
    std::printf("train     %s weights, %lld steps of %lld, %s, %s\n",
                format_short(static_cast<double>(num_weights(weights_that_train())), 4).c_str(),
                static_cast<long long>(job.steps), static_cast<long long>(job.batch),
                describe_device(model_.device).c_str(), precision_name(model_.precision).c_str());
    std::fflush(stdout);
    if (experiment_.is_denoiser())
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

  // The weights that training starts from.
  void start() {
    if (const std::string init = experiment_.train_settings().text("init"); !init.empty()) start_from(init);
    // Steps of an optimiser are lost in half types.
    move_weights(model_.backbone->parameters(), model_.device, weight_type(model_.precision));
    low_rank_ = experiment_.low_rank(model_);
  }
  const NamedTensors& weights_that_train() const {
    return low_rank_ ? low_rank_->factors() : model_.backbone->parameters().all();
  }

  // A network that is told more than the one it starts from keeps what it was made with for that: it starts at zero.
  void start_from(const std::string& init) {
    const std::vector<fs::path> files = model_files(init);
    if (files.empty()) throw DataError(concat("train.init: ", init, " is no model directory and no finished run."));
    NamedTensors values = load_tensors(files.front().parent_path()).tensors;
    if (model_.backbone->takes_given()) add_given_channels(values);
    NamedTensors targets;
    for (const auto& [name, tensor] : model_.backbone->parameters().all()) {
      const bool is_there = std::any_of(values.begin(), values.end(), [&](const auto& v) { return v.first == name; });
      if (is_there || !(name.starts_with("target.") || name.starts_with("guidance.")))
        targets.emplace_back(name, tensor);
    }
    assign(targets, values, init);
  }

  // The channels of a given part are the last of the input (times the pixels of a patch): their weights start at zero.
  void add_given_channels(NamedTensors& values) const {
    const std::int64_t given = model_.spec.shape[0] + 1;
    for (auto& [name, value] : values)
      for (const auto& [own, target] : model_.backbone->parameters().all()) {
        if (own != name || value.dim() < 3 || value.dim() != target.dim()) continue;
        std::vector<std::int64_t> shape = value.sizes().vec();
        const std::int64_t added = target.size(1) - shape[1];
        shape[1] = added;
        if (value.size(0) != target.size(0) || added <= 0 || added % given != 0) continue;
        value = at::cat({value, at::zeros(shape, value.options())}, 1);
      }
  }

  // EMA weights of the last checkpoint: the model everything after training works with.
  void load_weights() {
    const auto state = load_newest_checkpoint(folder_ / "checkpoints", train_hash_);
    if (!state) throw DataError(concat(folder_.string(), ": holds no finished training; run `thaw train` first."));
    NamedTensors average;
    for (const auto& [name, tensor] : state->tensors)
      if (name.starts_with("ema.") && !name.starts_with("ema.objective.")) average.emplace_back(name.substr(4), tensor);
    if (experiment_.is_low_rank() && !low_rank_) start();
    assign(weights_that_train(), average, (folder_ / "checkpoints").string());
    if (!low_rank_) return;
    low_rank_->apply();
    low_rank_->save(folder_ / "lora.safetensors");
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
    write_pictures(experiment_, model_, samples, folder_ / "pictures");
  }

  void evaluate_stage() {
    load_evaluator();
    const Samples samples = read_samples(folder_ / "samples" / "samples.npz");
    nlohmann::json measured =
        evaluator_->measure(subject_of(experiment_, samples.raw, samples.labels, samples.captions));
    measured.update(beside(measured, samples.raw.size(0)), true);
    measured["n"] = samples.raw.size(0);
    for (const auto& [name, value] : measured.items())
      if (value.is_number())
        std::printf("          %-22s %s\n", name.c_str(), format_short(value.get<double>()).c_str());
    merge_metrics(measured);
    if (measured.contains("per_sample") && measured["per_sample"].contains("nearest_training_index"))
      write_nearest(experiment_, samples, measured, folder_ / "pictures");
  }

  // What stands beside the figures that there are: of some, these samples gave none.
  nlohmann::json beside(const nlohmann::json& measured, std::int64_t n) const {
    nlohmann::json result = evaluator_->beside(n);
    for (auto entry = result.begin(); entry != result.end();) {
      const std::string& key = entry.key();
      const bool stands_alone = entry->is_number() && !measured.contains(key.substr(0, key.rfind('_')));
      entry = stands_alone ? result.erase(entry) : std::next(entry);
    }
    return result;
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
  InputHashes inputs_;
  std::string train_hash_, own_weights_;      // own: hash of those a backbone brings along, before any training
  std::shared_ptr<LowRankWeights> low_rank_;  // null: the weights themselves train
  std::optional<Evaluator> evaluator_;
};

}  // namespace

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
  facts.emplace_back(
      "data", concat(experiment.config().section("dataset").type("mnist"), "; its licence stands beside the data"));
  facts.emplace_back("licence", "Apache-2.0");
  return facts;
}

void run_pipeline(const Experiment& experiment, const PipelineOptions& options) {
  Pipeline(experiment, options).run();
}

}  // namespace thaw
