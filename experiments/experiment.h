#pragma once
// A configuration, checked and turned into the objects it names.

#include <filesystem>
#include <memory>
#include <optional>

#include "core/model.h"
#include "core/noise_source.h"
#include "core/trainer.h"
#include "experiments/catalog.h"
#include "samplers/scheduler_config.h"

namespace thaw {

struct EvaluateSettings {
  std::int64_t n = 500;
  std::vector<std::string> metrics{};  // names, or "name option=value ..."
  std::string features{}, judge{};     // model directories
};

struct CompareSettings {
  std::vector<std::string> samplers{};
  std::vector<std::int64_t> evaluations{};
  std::int64_t n = 100;
};

/// Everything a configuration says, in memory. Datasets are opened on first use.
class Experiment {
 public:
  /// Checks every section and every name before anything is opened or computed. Throws ConfigError.
  Experiment(Config config, const Catalog& catalog);

  const Config& config() const { return config_; }
  const Catalog& catalog() const { return *catalog_; }
  std::uint64_t seed() const { return seed_; }
  const std::string& title() const { return title_; }
  bool is_classifier() const { return learns_ == Learns::kClasses; }
  bool is_autoencoder() const { return learns_ == Learns::kLatents; }
  bool is_denoiser() const { return learns_ == Learns::kDenoising; }
  bool is_pretrained() const { return is_pretrained_; }  // the backbone brings its weights along
  bool is_low_rank() const { return low_rank_.rank > 0; }
  bool trains() const { return !is_pretrained_ || is_low_rank(); }
  const EvaluateSettings& evaluate() const { return evaluate_; }
  const CompareSettings& compare() const { return compare_; }
  std::int64_t micro_batch() const { return micro_batch_; }
  PathKind path_kind() const { return path_kind_; }
  bool is_double() const { return is_double_; }
  const Settings& train_settings() const { return *train_; }

  DatasetPtr dataset() const;   // training examples
  DatasetPtr held_out() const;  // the split "test" where the dataset has one, else null
  CodecPtr codec() const { return codec_; }
  SchedulePtr schedule() const { return schedule_; }
  ObjectivePtr objective() const { return objective_; }
  Guidance guidance() const { return guidance_; }
  Thresholding thresholding() const { return thresholding_; }  // empty for none
  TaskPtr task() const { return task_; }                       // null: nothing is given
  LevelMap level_map() const { return level_map_; }            // empty: one level a sample
  /// A network is told a given part by its level alone, having been trained at levels of parts (levels_of: parts).
  bool tells_given_by_level() const;
  /// A published scheduler configuration in place of schedule, grid, sampler and thresholding; null without one.
  const ImportedScheduler* scheduler() const { return scheduler_ ? &*scheduler_ : nullptr; }

  /// Fresh weights on the experiment's device.
  Model make_model() const;
  DataSpec data_spec() const;

  Solver solver() const { return solver_; }
  /// By name, or "name option=value ...".
  Solver solver(const std::string& text) const;
  /// By name, or "name option=value ...": what the catalog says of it, and the metric itself.
  const EntryInfo& metric_info(const std::string& text) const;
  MetricPtr metric(const std::string& text, const MetricParts& parts) const;
  /// Files that the metrics read by their option "network".
  std::vector<std::filesystem::path> metric_files() const;
  Grid grid() const { return grid(0); }
  Grid grid(std::int64_t steps) const;  // 0: as configured
  /// Standard deviation a published scheduler starts from; 0 without one: that of unit-variance data at the first
  /// level.
  double start_scale(std::int64_t steps = 0) const;

  /// The factors that train in place of the model's weights, which must be those to start from; null: those train.
  std::shared_ptr<LowRankWeights> low_rank(const Model& model) const;
  TrainJob train_job(Model& model, const std::filesystem::path& folder) const;

  /// Hash of what the outcome of a stage depends on.
  std::string hash_of(std::span<const std::string> sections) const;

 private:
  ModelOpener model_opener() const;
  SecondModelOpener guide_opener() const;
  CodecParts codec_parts() const;
  DatasetPtr checked(DatasetPtr dataset) const;
  DatasetPtr encoded_training_data() const;
  void read_top();
  void read_components();
  void read_sampling();
  void read_task();
  void read_scheduler(const std::string& path);
  void read_evaluation();
  std::vector<std::string> expand_samplers(const Settings& compare) const;

  Config config_;
  const Catalog* catalog_;
  std::uint64_t seed_ = 0;
  std::string title_, device_name_, precision_name_;
  enum class Learns { kDenoising, kClasses, kLatents } learns_ = Learns::kDenoising;
  bool is_pretrained_ = false, is_double_ = false;
  SchedulePtr schedule_;
  ObjectivePtr objective_;
  CodecPtr codec_;
  Guidance guidance_;
  Thresholding thresholding_;
  TaskPtr task_;
  LevelMap level_map_;
  Solver solver_;
  std::optional<ImportedScheduler> scheduler_;
  std::string scheduler_path_;
  std::optional<Settings> train_;
  OptimizerOptions optimizer_{};
  LowRankOptions low_rank_{};
  std::optional<Settings> ema_;
  Parameterisation parameterisation_{};
  EvaluateSettings evaluate_{};
  CompareSettings compare_{};
  std::int64_t micro_batch_ = 64;
  PathKind path_kind_ = PathKind::kBrownian;
  mutable DatasetPtr dataset_, held_out_;
  mutable std::optional<DataSpec> spec_;
};

/// Parses `key=value` overrides with the short forms of the command line (steps, sampler, n ...) into the config.
void apply_overrides(Config& config, const std::vector<std::string>& overrides);

}  // namespace thaw
