#pragma once
// The training loop: batch k is a function of (seed, k), so that a checkpoint needs no generator state.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "core/dataset.h"
#include "core/given.h"
#include "core/low_rank.h"
#include "core/model.h"
#include "core/objective.h"
#include "core/optimizer.h"
#include "core/prefetcher.h"

namespace thaw {

const std::vector<Option>& train_options();
const std::vector<Option>& ema_options();
/// Throws ConfigError where a sample of this shape (without the batch) has no such first part. 0: all of it.
void expect_length(std::int64_t length, const std::vector<std::int64_t>& shape);

struct TrainJob {
  Model* model = nullptr;
  ObjectivePtr objective;
  DatasetPtr dataset;
  DatasetPtr held_out;  // may be null: no validation loss
  CodecPtr codec;
  TaskPtr task{};           // what part of each example is given
  bool is_encoded = false;  // the dataset's data is what the codec would make of it; held_out's is raw
  std::uint64_t seed = 0;
  std::int64_t steps = 0, batch = 1, micro_batch = 0;
  std::int64_t length = 0;  // of the first dimension behind the channels that is trained on; 0: all
  std::int64_t checkpoint_every = 100, preview_every = 0, validate_every = 0, log_every = 10;
  OptimizerOptions optimizer{};
  double ema_decay = 0.999;                         // of the average that samples
  std::vector<double> more_decays{}, power_stds{};  // further averages, kept in checkpoints
  std::int64_t snapshot_every = 0;                  // of the power-function averages, for `thaw ema`
  LoadAhead ahead{};
  std::string on_not_finite = "abort";
  std::shared_ptr<LowRankWeights> low_rank{};  // of the model's weights; null: they train themselves
  std::filesystem::path folder;                // the run folder
  std::string config_hash;
  /// Called with EMA weights in place; writes the preview and returns its path relative to the run folder.
  std::function<std::string(std::int64_t step)> preview{};
};

/// Trains to `steps`, going on from the newest checkpoint. At the end the model holds the EMA weights.
///
/// Any interruption (also SIGKILL) and a new call give the same final files to the bit, on a CPU with the same number
/// of threads; only "seconds" in metrics.jsonl differ. Throws Stopped after SIGINT or SIGTERM, with everything saved;
/// NumbersError after a loss or gradient that is not finite, which changed no weight (on_not_finite: abort), or after
/// 20 steps left out for it (skip: that step alone; rollback: back to the newest checkpoint, then without that step;
/// each noted in incidents.jsonl); ResourceError when memory does not suffice for one example. Until then a micro-batch
/// that does not fit is halved for good, which checkpoints remember.
void train(const TrainJob& job);

}  // namespace thaw
