#include "core/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <optional>
#include <sstream>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/averages.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/coarse.h"
#include "core/device.h"
#include "core/io/tensorboard.h"
#include "core/nn/layers.h"
#include "core/told_of_sample.h"

namespace thaw {

namespace {

constexpr std::size_t kKeptCheckpoints = 2;
constexpr std::size_t kMostLeftOut = 20;  // steps that were not finite
constexpr std::int64_t kValidationExamples = 128;
constexpr int kValidationLevels = 8;
// A device is asked for its numbers at least this often, so that training on after a loss that is not finite is short.
constexpr std::int64_t kMaxUnreadSteps = 50;

// What trains: the model's weights or their low-rank changes, and the objective's own.
NamedTensors all_weights(const TrainJob& job) {
  NamedTensors weights = job.low_rank ? job.low_rank->factors() : job.model->backbone->parameters().all();
  for (const auto& [name, tensor] : job.objective->parameters()) weights.emplace_back("objective." + name, tensor);
  return weights;
}

class Training {
 public:
  explicit Training(const TrainJob& job)
      : job_(job),
        weights_(all_weights(job)),
        loader_({job.dataset, job.seed, job.batch}, job.ahead, static_cast<std::uint64_t>(job.steps)),
        optimizer_(weights_, job.optimizer),
        average_(weights_, exponential_decay(job.ema_decay)),
        more_(weights_, job.more_decays, job.power_stds),
        micro_batch_(job.micro_batch > 0 ? std::min(job.micro_batch, job.batch) : job.batch),
        on_device_(job.model->device),
        loss_(at::zeros({}, on_device_.dtype(at::kDouble))),
        norm_(at::zeros({}, on_device_.dtype(at::kDouble))),
        is_bad_(at::zeros({}, on_device_.dtype(at::kBool))),
        num_good_(at::zeros({}, on_device_.dtype(at::kDouble))),
        log_(job.folder / "metrics.jsonl"),
        events_(job.folder / "events") {}

  void run() {
    const std::int64_t start = resume();
    Progress progress("train", job_.steps, start);
    if (start == 0 && job_.on_not_finite == "rollback") save(0, progress);  // there is always a way back
    for (std::int64_t step = start; step < job_.steps; ++step) {
      const std::int64_t micro_batch = micro_batch_;
      if (const auto back = take(step)) {
        step = *back - 1;
        continue;
      }
      const std::int64_t done = step + 1;
      const bool is_last = done == job_.steps, must_stop = stop_requested() && !is_last;
      const bool must_log = done % job_.log_every == 0 || is_last;
      const bool must_validate = is_due(job_.validate_every, done), must_preview = is_due(job_.preview_every, done);
      // A smaller micro-batch rounds differently: the steps taken with it must be the same ones after a resume.
      const bool must_save = done % job_.checkpoint_every == 0 || is_last || must_stop || micro_batch_ != micro_batch;
      // Before anything of the step is kept.
      if (must_log || must_validate || must_preview || must_save || done % kMaxUnreadSteps == 0) read_numbers(start);
      if (must_log) log_step(done, progress);
      if (must_validate) with_average([&] { validate(done, progress); });
      if (must_preview) with_average([&] { preview(done); });
      if (must_save) save(done, progress);
      if (is_due(job_.snapshot_every, done)) more_.save_snapshots(job_.folder / "snapshots", done);
      progress.update(done, last_loss_ ? concat("loss ", format_short(*last_loss_, 3)) : "");
      if (must_stop || is_last) report_problems(*job_.dataset, problems_before_, job_.folder / "bad_data.txt");
      if (must_stop)
        throw Stopped(concat("stopped after step ", done, " of ", job_.steps, "; saved in ", job_.folder.string(),
                             ". The same command goes on from there."));
    }
    for (std::size_t i = 0; i < weights_.size(); ++i) weights_[i].second.set_data(average_.tensors()[i].second.clone());
    if (job_.low_rank) job_.low_rank->apply();
  }

 private:
  bool is_due(std::int64_t every, std::int64_t done) const {
    return every > 0 && (done % every == 0 || done == job_.steps);
  }

  NamedTensors all_state() const {
    NamedTensors state;
    for (const auto& [name, tensor] : weights_) state.emplace_back("model." + name, tensor.detach());
    for (const auto& [name, tensor] : average_.tensors()) state.emplace_back("ema." + name, tensor);
    for (const auto& [name, tensor] : more_.state()) state.emplace_back(name, tensor);
    for (const auto& [name, tensor] : optimizer_.state()) state.emplace_back("adamw." + name, tensor);
    for (const auto& [name, tensor] : job_.objective->state()) state.emplace_back("objective." + name, tensor);
    return state;
  }

  void restore(const NamedTensors& state) {
    assign(all_state(), state, (job_.folder / "checkpoints").string());
    if (job_.low_rank) job_.low_rank->apply();
  }

  // The averaged weights in place for `use`.
  template <class Use>
  void with_average(const Use& use) {
    {
      const SwappedWeights swapped(weights_, average_.tensors());
      if (job_.low_rank) job_.low_rank->apply();
      use();
    }
    if (job_.low_rank) job_.low_rank->apply();
  }

  std::int64_t resume() {
    const auto found = load_newest_checkpoint(job_.folder / "checkpoints", job_.config_hash);
    // Lines of steps after the checkpoint will be written again.
    const std::int64_t step = found ? found->step : 0;
    trim_log(step);
    events_.rewrite_up_to(step);
    if (!found) return 0;
    restore(found->tensors);
    seconds_before_ = found->seconds;
    left_out_ = found->left_out;
    if (found->micro_batch > 0) micro_batch_ = std::min(micro_batch_, found->micro_batch);
    if (step < job_.steps) std::fprintf(stderr, "train: going on from step %lld\n", static_cast<long long>(step));
    return step;
  }

  void trim_log(std::int64_t last_step) const {
    if (!std::filesystem::exists(log_)) return;
    std::string kept;
    std::istringstream lines(read_file(log_));
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line, nullptr, false);
      if (json.is_object() && json.value("step", std::int64_t{0}) <= last_step) kept += line + "\n";
    }
    write_file(log_, kept);
  }

  // One step by the policy of train.on_not_finite. Returns the step to go back to, where that is the policy.
  std::optional<std::int64_t> take(std::int64_t step) {
    if (std::find(left_out_.begin(), left_out_.end(), step) != left_out_.end()) return std::nullopt;
    const Batch batch = loader_.batch(static_cast<std::uint64_t>(step));
    accumulate_gradients(batch, step);
    norm_ = optimizer_.clip_gradients();
    const at::Tensor is_bad = at::logical_not(at::isfinite(loss_ + norm_));
    // Only this policy needs no answer from the device at every step.
    if (job_.on_not_finite != "abort" && is_bad.item<bool>()) return leave_out(batch, step);
    is_bad_ = at::logical_or(is_bad_, is_bad);
    update(step);
    return std::nullopt;
  }

  // Whose numbers stay on the device. Once a loss or gradient is not finite no later step changes a weight either,
  // until read_numbers tells.
  void update(std::int64_t step) {
    last_rate_ = learning_rate_at(job_.optimizer, step, job_.steps);
    optimizer_.step(last_rate_, step + 1, is_bad_.to(at::kFloat));
    if (job_.low_rank) job_.low_rank->apply();
    average_.update(step + 1);
    more_.update(step + 1);
    optimizer_.zero_gradients();
    job_.objective->updated(*job_.model, context(step, 0));
    num_good_ = num_good_ + at::logical_not(is_bad_);
  }

  std::optional<std::int64_t> leave_out(const Batch& batch, std::int64_t step) {
    optimizer_.zero_gradients();
    const BadLosses bad = bad_losses(batch, step);
    const bool goes_back = job_.on_not_finite == "rollback";
    left_out_.push_back(step);
    std::int64_t next = step + 1;
    if (goes_back) {
      const auto found = load_newest_checkpoint(job_.folder / "checkpoints", job_.config_hash);
      if (!found) throw DataError(concat(job_.folder.string(), ": no whole checkpoint to go back to."));
      restore(found->tensors);
      next = found->step;
      trim_log(next);
      events_.rewrite_up_to(next);
    }
    append_line(job_.folder / "incidents.jsonl", nlohmann::json{{"step", step + 1},
                                                                {"policy", job_.on_not_finite},
                                                                {"cause", bad.samples.empty() ? "gradient" : "loss"},
                                                                {"samples", bad.samples},
                                                                {"goes_on_from", next}}
                                                     .dump());
    std::fprintf(stderr, "train: step %lld: %s is not finite; %s\n", static_cast<long long>(step + 1),
                 bad.samples.empty() ? "the gradient" : "the loss",
                 goes_back ? concat("back to step ", next, ", then without it").c_str() : "left out");
    if (left_out_.size() >= kMostLeftOut)
      throw NumbersError(concat("step ", step + 1, ": ", left_out_.size(), " steps were not finite; see ",
                                (job_.folder / "incidents.jsonl").string(), "."));
    if (goes_back) {  // remembered by the checkpoint itself: whoever goes on from it leaves the step out too
      save_checkpoint(job_.folder / "checkpoints", {next, seconds_before_, all_state(), micro_batch_, left_out_},
                      job_.config_hash);
      return next;
    }
    loss_ = norm_ = at::zeros({}, on_device_.dtype(at::kDouble));  // for the log of a step that was none
    return std::nullopt;
  }

  // Halves the micro-batch for good where memory does not suffice. Only gradients are tried again: a step of the
  // optimiser broken off half-way has changed weights.
  void accumulate_gradients(const Batch& batch, std::int64_t step) {
    while (true) {
      try {
        return add_gradients(batch, step);
      } catch (const std::exception& error) {
        if (!is_out_of_memory(error)) throw;
        optimizer_.zero_gradients();
        if (micro_batch_ == 1) throw ResourceError("train: memory does not suffice for one example at a time.");
        micro_batch_ = (micro_batch_ + 1) / 2;
        std::fprintf(stderr, "train: out of memory; going on with train.micro_batch %lld\n",
                     static_cast<long long>(micro_batch_));
      }
    }
  }

  void add_gradients(const Batch& batch, std::int64_t step) {
    at::Tensor sum = at::zeros({}, on_device_.dtype(at::kDouble));
    for (std::int64_t first = 0; first < job_.batch; first += micro_batch_) {
      const at::Tensor loss = losses(batch, step, first);
      sum += loss.detach().sum();
      (loss.sum() / static_cast<double>(job_.batch)).backward();
      if (job_.low_rank) job_.low_rank->pass_gradients();
    }
    loss_ = sum / static_cast<double>(job_.batch);
  }

  // Of the micro-batch that begins at example `first`.
  at::Tensor losses(const Batch& batch, std::int64_t step, std::int64_t first) const {
    const std::int64_t count = std::min(micro_batch_, job_.batch - first);
    const at::Tensor part = batch.data.narrow(0, first, count);
    const at::Tensor x0 = cut(job_.is_encoded ? part : job_.codec->encode(part)).to(job_.model->device);
    Condition condition;
    for (const auto& [name, tensor] : batch.condition)
      condition[name] = tensor.narrow(0, first, count).to(job_.model->device);
    std::vector<std::uint64_t> samples;
    for (std::int64_t i = 0; i < count; ++i) samples.push_back(context(step, first).sample(first + i));
    condition = with_coarse(*job_.model, x0, std::move(condition), job_.seed, samples);
    condition = with_told_of_sample(*job_.model->backbone, x0, std::move(condition));
    condition = with_given(*job_.model, job_.task, x0, std::move(condition), job_.seed, samples);
    const nn::TrainingPass pass(job_.seed, batch.first_sample + static_cast<std::uint64_t>(first));
    return job_.objective->loss(*job_.model, x0, condition, context(step, first));
  }

  at::Tensor cut(const at::Tensor& x0) const { return job_.length > 0 ? x0.narrow(2, 0, job_.length) : x0; }

  StepContext context(std::int64_t step, std::int64_t first) const {
    return {job_.seed, static_cast<std::uint64_t>(step), job_.batch, first, job_.steps};
  }

  // One transfer. Throws NumbersError when a step since the training began anew at `start` was not finite.
  void read_numbers(std::int64_t start) {
    const at::Tensor numbers = at::stack({loss_, norm_, is_bad_.to(at::kDouble), num_good_}).cpu();
    const double* values = numbers.const_data_ptr<double>();
    last_loss_ = values[0];
    last_norm_ = values[1];
    if (values[2] != 0) fail_not_finite(start + static_cast<std::int64_t>(values[3]));
  }

  struct BadLosses {
    std::vector<std::int64_t> samples{};  // positions in the batch
  };
  // The weights are still those of the step that failed, so that its losses can be had once more.
  BadLosses bad_losses(const Batch& batch, std::int64_t step) const {
    const c10::NoGradGuard no_grad;
    BadLosses result;
    for (std::int64_t first = 0; first < job_.batch; first += micro_batch_) {
      const at::Tensor loss = losses(batch, step, first).cpu();
      const at::Tensor bad = at::nonzero(at::logical_not(at::isfinite(loss))).flatten();
      for (std::int64_t i = 0; i < bad.numel(); ++i) result.samples.push_back(first + bad[i].item<std::int64_t>());
    }
    return result;
  }

  [[noreturn]] void fail_not_finite(std::int64_t step) {
    const BadLosses bad = bad_losses(loader_.batch(static_cast<std::uint64_t>(step)), step);
    const std::string unchanged =
        concat(" The weights were not updated. Checkpoints: ", (job_.folder / "checkpoints").string(), ".");
    if (bad.samples.empty())
      throw NumbersError(concat("step ", step + 1, ": the gradient is not finite, though every loss is.", unchanged));
    throw NumbersError(concat("step ", step + 1, ": loss is not finite in ", bad.samples.size(), " of ", job_.batch,
                              " samples, first at sample ", bad.samples.front(), ".", unchanged));
  }

  void scalar(const char* tag, std::int64_t done, double value) {
    events_.scalar(tag, done, static_cast<double>(std::time(nullptr)), static_cast<float>(value));
  }

  void log_step(std::int64_t done, const Progress& progress) {
    scalar("loss", done, *last_loss_);
    scalar("learning_rate", done, last_rate_);
    scalar("grad_norm", done, last_norm_);
    append_line(log_, nlohmann::json{{"step", done},
                                     {"loss", *last_loss_},
                                     {"learning_rate", last_rate_},
                                     {"grad_norm", last_norm_},
                                     {"samples", done * job_.batch},
                                     {"seconds", seconds_before_ + progress.seconds()}}
                          .dump());
  }

  // The loss on fixed held-out examples with fixed noise, level by level.
  void validate(std::int64_t done, const Progress& progress) {
    const auto* denoising = dynamic_cast<const DenoisingObjective*>(job_.objective.get());
    if (!job_.held_out || denoising == nullptr) return;
    const c10::NoGradGuard no_grad;
    std::vector<std::int64_t> indices;
    std::vector<std::uint64_t> samples;
    for (std::int64_t i = 0; i < std::min(kValidationExamples, job_.held_out->size()); ++i) {
      indices.push_back(i);
      samples.push_back(static_cast<std::uint64_t>(i));
    }
    const Batch batch = gather(*job_.held_out, indices);
    const at::Tensor x0 = cut(job_.codec->encode(batch.data)).to(job_.model->device);
    Condition condition;
    for (const auto& [name, tensor] : batch.condition) condition[name] = tensor.to(job_.model->device);
    condition = with_coarse(*job_.model, x0, std::move(condition), ~job_.seed, samples);
    condition = with_told_of_sample(*job_.model->backbone, x0, std::move(condition));
    condition = with_given(*job_.model, job_.task, x0, std::move(condition), ~job_.seed, samples);
    const Schedule& schedule = *job_.model->parameterisation.schedule;
    nlohmann::json by_level = nlohmann::json::array();
    double total = 0;
    for (int i = 0; i < kValidationLevels; ++i) {
      const double t = schedule.t_min() + (schedule.t_max() - schedule.t_min()) * (i + 0.5) / kValidationLevels;
      const Level level = schedule.at(t);
      const std::vector<Level> levels(indices.size(), level);
      // Another seed than training's: its noise is never trained on.
      const double loss =
          denoising->loss_at(*job_.model, x0, condition, levels, ~job_.seed, samples).mean().item<double>();
      by_level.push_back({{"lambda", level.lambda()}, {"loss", loss}});
      total += loss / kValidationLevels;
    }
    scalar("validation_loss", done, total);
    append_line(log_, nlohmann::json{{"step", done},
                                     {"validation_loss", total},
                                     {"validation_by_level", by_level},
                                     {"seconds", seconds_before_ + progress.seconds()}}
                          .dump());
  }

  void preview(std::int64_t done) {
    if (!job_.preview) return;
    const std::string file = job_.preview(done);
    append_line(log_, nlohmann::json{{"step", done}, {"preview", file}}.dump());
    if (file.ends_with(".png"))
      events_.image("preview", done, static_cast<double>(std::time(nullptr)),
                    event_image(read_file(job_.folder / file)));
  }

  void save(std::int64_t done, const Progress& progress) const {
    save_checkpoint(job_.folder / "checkpoints",
                    {done, seconds_before_ + progress.seconds(), all_state(), micro_batch_, left_out_},
                    job_.config_hash);
    prune_checkpoints(job_.folder / "checkpoints", kKeptCheckpoints);
  }

  const TrainJob& job_;
  NamedTensors weights_;
  Prefetcher loader_;
  AdamW optimizer_;
  WeightAverage average_;
  MoreAverages more_;
  std::vector<std::int64_t> left_out_{};
  std::size_t problems_before_ = job_.dataset->problems().size();
  std::int64_t micro_batch_;
  at::TensorOptions on_device_;
  // Of the latest step; then whether any step was not finite, and the number of steps before the first such one.
  at::Tensor loss_, norm_, is_bad_, num_good_;
  std::filesystem::path log_;
  EventWriter events_;
  double seconds_before_ = 0, last_norm_ = 0, last_rate_ = 0;
  std::optional<double> last_loss_;  // nothing until numbers were read
};

}  // namespace

void train(const TrainJob& job) {
  expect_length(job.length, job.model->spec.shape);
  job.objective->prepare(*job.model);
  Training(job).run();
}

}  // namespace thaw
