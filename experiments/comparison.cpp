#include "experiments/comparison.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "core/weights_hash.h"
#include "experiments/pipeline.h"
#include "experiments/report.h"
#include "experiments/sampling.h"

namespace thaw {

namespace {

// "ddim eta=1" as part of a file's name.
std::string file_stem(std::string sampler) {
  for (char& c : sampler)
    if (c == ' ' || c == '=' || c == '/') c = '_';
  return sampler;
}

constexpr std::int64_t kShown = 10;  // samples in a cell's picture

nlohmann::json measure_solver(const Experiment& experiment, const Model& model, Evaluator& evaluator,
                              const Solver& solver, nlohmann::json cell, const std::filesystem::path& pictures) {
  const std::string sampler = cell["sampler"];
  const std::int64_t budget = cell["evaluations"];
  const auto steps = steps_within(
      solver, [&](int count) { return experiment.grid(count); }, static_cast<int>(budget));
  if (!steps) {
    cell["refused"] = concat("one step takes more than ", budget, " evaluations");
    return cell;
  }
  SampleRequest request = make_request(experiment, experiment.compare().n);
  request.solver = solver;
  request.grid = experiment.grid(*steps);
  request.start_scale = experiment.start_scale(*steps);
  request.progress = concat(sampler, " at ", budget);
  const std::string stem = concat("compare_", file_stem(sampler), "_", budget);
  const SampledSet sampled = sample_resumable(experiment, model, request, sampler, pictures / (stem + ".partial"));
  const at::Tensor raw = experiment.codec()->decode(sampled.x);
  const nlohmann::json measured = evaluator.measure(subject_of(experiment, raw, request.labels, request.captions));
  const std::string picture = stem + ".png";
  write_file(pictures / picture,
             experiment.codec()->sheet_png(raw.narrow(0, 0, std::min(kShown, raw.size(0))), kShown / 2));
  cell.update({{"steps", *steps},
               {"evaluations_used", sampled.evaluations},
               {"n", raw.size(0)},
               {"seconds", sampled.seconds},
               {"seconds_per_sample", sampled.seconds / static_cast<double>(raw.size(0))},
               {"picture", picture}});
  for (const auto& [name, detail] : measured["details"].items()) {
    cell[name] = measured[name];
    cell[name + "_low"] = detail["low"];
    cell[name + "_high"] = detail["high"];
  }
  if (measured.contains("prompts")) cell["prompts"] = measured["prompts"]["rows"];
  return cell;
}

nlohmann::json measure_cell(const Experiment& experiment, const Model& model, Evaluator& evaluator,
                            const std::string& sampler, std::int64_t budget, const std::filesystem::path& pictures) {
  nlohmann::json cell{{"sampler", sampler}, {"evaluations", budget}};
  const Solver solver = experiment.solver(sampler);
  try {
    return measure_solver(experiment, model, evaluator, solver, cell, pictures);
  } catch (const ConfigError& error) {  // a sampler that cannot run on this grid; the others can
    cell["refused"] = error.what();
  } catch (const NumbersError& error) {  // or one that diverges on it, or does not arrive within its budget
    cell["refused"] = error.what();
  }
  return cell;
}

/// Finished cells by the hash of all they depend on.
class CellRecord {
 public:
  CellRecord(const Experiment& experiment, const Model& model, std::filesystem::path file) : file_(std::move(file)) {
    static const std::vector<std::string> kSections{"seed",     "precision",    "dataset",  "codec",    "grid",
                                                    "guidance", "thresholding", "sampling", "scheduler"};
    base_ = concat(experiment.hash_of(kSections), hash_of_weights(model.backbone->parameters().all()),
                   experiment.compare().n, "\n", experiment.evaluate().features, "\n", experiment.evaluate().judge,
                   "\n", join(experiment.evaluate().metrics, ","));
    constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 20;
    if (std::filesystem::exists(file_)) cells_ = parse_json_file(file_, kMaxBytes, 8);
    if (!cells_.is_object()) cells_ = nlohmann::json::object();
  }

  std::optional<nlohmann::json> find(const std::string& sampler, std::int64_t budget) const {
    const std::string key = key_of(sampler, budget);
    if (!cells_.contains(key)) return std::nullopt;
    return cells_[key];
  }
  void add(const std::string& sampler, std::int64_t budget, const nlohmann::json& cell) {
    cells_[key_of(sampler, budget)] = cell;
    write_file(file_, cells_.dump(1) + "\n");
  }

 private:
  std::string key_of(const std::string& sampler, std::int64_t budget) const {
    return content_hash(concat(base_, "\n", sampler, "\n", budget));
  }

  std::filesystem::path file_;
  std::string base_;
  nlohmann::json cells_ = nlohmann::json::object();
};

}  // namespace

nlohmann::json compare_samplers(const Experiment& experiment, const Model& model, Evaluator& evaluator,
                                const std::filesystem::path& folder) {
  const CompareSettings& compare = experiment.compare();
  const auto total = static_cast<std::int64_t>(compare.samplers.size() * compare.evaluations.size());
  CellRecord record(experiment, model, folder / "compare.cells.json");
  Progress progress("compare", total);
  nlohmann::json cells = nlohmann::json::array();
  for (const std::string& sampler : compare.samplers)
    for (const std::int64_t budget : compare.evaluations) {
      if (auto known = record.find(sampler, budget)) {
        cells.push_back(std::move(*known));
      } else {
        cells.push_back(measure_cell(experiment, model, evaluator, sampler, budget, folder / "pictures"));
        record.add(sampler, budget, cells.back());
      }
      progress.update(static_cast<std::int64_t>(cells.size()), concat(sampler, " at ", budget));
    }
  const auto& metrics = experiment.evaluate().metrics;
  return {{"quality", metrics.empty() ? "" : experiment.metric_info(metrics.front()).name},
          {"n", compare.n},
          {"cells", cells}};
}

nlohmann::json run_comparison(const LoadedModel& loaded, const std::filesystem::path& folder,
                              const std::string& command) {
  const Experiment& experiment = *loaded.experiment;
  if (experiment.compare().samplers.empty())
    throw ConfigError("compare.samplers: names nothing to compare; for example compare.samplers=[ddim,heun].");
  Evaluator evaluator(experiment);
  make_folder(folder);
  write_file(folder / "config.resolved.yaml", experiment.config().resolved());
  write_environment(loaded.model, folder, command);
  const nlohmann::json compared = compare_samplers(experiment, loaded.model, evaluator, folder);
  write_file(folder / "metrics.json", nlohmann::json{{"compare", compared}}.dump(1) + "\n");
  write_report(folder);
  return compared;
}

}  // namespace thaw
