#include "core/trainer.h"

#include <cmath>
#include <cstdio>
#include <ctime>
#include <sstream>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/io/tensorboard.h"
#include "core/nn/layers.h"

namespace thaw {

namespace {

constexpr std::size_t kKeptCheckpoints = 2;
constexpr std::int64_t kValidationExamples = 128;
constexpr int kValidationLevels = 8;

// At libtorch's CPU allocator running out of memory is a plain c10::Error, known by its text alone.
bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) || dynamic_cast<const std::bad_alloc*>(&error)) return true;
  return std::string_view(error.what()).find("can't allocate memory") != std::string_view::npos;
}

// Size and channels from the IHDR chunk of a PNG of our own (gray or RGB).
EventImage event_image(std::string png) {
  const auto number = [&](std::size_t at) {
    int value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(png.at(at + i));
    return value;
  };
  const int width = number(16), height = number(20), channels = png.at(25) == 2 ? 3 : 1;
  return {std::move(png), width, height, channels};
}

class Training {
 public:
  explicit Training(const TrainJob& job)
      : job_(job),
        weights_(job.model->backbone->parameters().all()),
        loader_(job.dataset, job.seed, job.batch),
        optimizer_(weights_, job.optimizer),
        average_(weights_, job.ema_decay),
        micro_batch_(job.micro_batch > 0 ? std::min(job.micro_batch, job.batch) : job.batch),
        log_(job.folder / "metrics.jsonl"),
        events_(job.folder / "events") {}

  void run() {
    const std::int64_t start = resume();
    Progress progress("train", job_.steps, start);
    for (std::int64_t step = start; step < job_.steps; ++step) {
      const double loss = update(step);
      const std::int64_t done = step + 1;
      const bool is_last = done == job_.steps;
      if (done % job_.log_every == 0 || is_last) log_step(done, loss, progress);
      if (is_due(job_.validate_every, done)) validate(done, progress);
      if (is_due(job_.preview_every, done)) preview(done);
      const bool must_stop = stop_requested() && !is_last;
      if (done % job_.checkpoint_every == 0 || is_last || must_stop) save(done, progress);
      progress.update(done, concat("loss ", format_short(loss, 3)));
      if (must_stop)
        throw Stopped(concat("stopped after step ", done, " of ", job_.steps, "; saved in ", job_.folder.string(),
                             ". The same command goes on from there."));
    }
    for (std::size_t i = 0; i < weights_.size(); ++i)
      weights_[i].second.set_data(average_.tensors()[i].second.clone());
  }

 private:
  bool is_due(std::int64_t every, std::int64_t done) const {
    return every > 0 && (done % every == 0 || done == job_.steps);
  }

  NamedTensors all_state() const {
    NamedTensors state;
    for (const auto& [name, tensor] : weights_) state.emplace_back("model." + name, tensor.detach());
    for (const auto& [name, tensor] : average_.tensors()) state.emplace_back("ema." + name, tensor);
    for (const auto& [name, tensor] : optimizer_.state()) state.emplace_back("adamw." + name, tensor);
    return state;
  }

  std::int64_t resume() {
    const auto found = load_newest_checkpoint(job_.folder / "checkpoints", job_.config_hash);
    // Lines of steps after the checkpoint will be written again.
    const std::int64_t step = found ? found->step : 0;
    trim_log(step);
    events_.rewrite_up_to(step);
    if (!found) return 0;
    assign(all_state(), found->tensors, (job_.folder / "checkpoints").string());
    seconds_before_ = found->seconds;
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

  double update(std::int64_t step) {
    const Batch batch = loader_.batch(static_cast<std::uint64_t>(step));
    while (true) {
      try {
        const double loss = gradients(batch, step);
        last_norm_ = optimizer_.clip_gradients();
        if (!std::isfinite(last_norm_))
          throw NumbersError(concat("step ", step + 1, ": the gradient is not finite. The weights were not updated."));
        last_rate_ = learning_rate_at(job_.optimizer, step, job_.steps);
        optimizer_.step(last_rate_, step + 1);
        average_.update(step + 1);
        optimizer_.zero_gradients();
        return loss;
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

  double gradients(const Batch& batch, std::int64_t step) {
    double sum = 0;
    for (std::int64_t first = 0; first < job_.batch; first += micro_batch_) {
      const std::int64_t count = std::min(micro_batch_, job_.batch - first);
      const at::Tensor x0 = job_.codec->encode(batch.data.narrow(0, first, count)).to(job_.model->device);
      Condition condition;
      for (const auto& [name, tensor] : batch.condition)
        condition[name] = tensor.narrow(0, first, count).to(job_.model->device);
      const nn::TrainingPass pass(job_.seed, batch.first_sample + static_cast<std::uint64_t>(first));
      const at::Tensor loss = job_.objective->loss(
          *job_.model, x0, condition, {job_.seed, static_cast<std::uint64_t>(step), job_.batch, first});
      const double part = loss.detach().sum().item<double>();
      if (!std::isfinite(part)) fail_not_finite(loss, step, first);
      sum += part;
      (loss.sum() / static_cast<double>(job_.batch)).backward();
    }
    return sum / static_cast<double>(job_.batch);
  }

  [[noreturn]] void fail_not_finite(const at::Tensor& loss, std::int64_t step, std::int64_t first) {
    optimizer_.zero_gradients();
    const at::Tensor bad = at::nonzero(at::logical_not(at::isfinite(loss.detach()))).flatten().cpu();
    throw NumbersError(concat("step ", step + 1, ": loss is not finite in ", bad.numel(), " of ", loss.numel(),
                              " samples, first at sample ", first + bad[0].item<std::int64_t>(),
                              ". The weights were not updated. Checkpoints: ",
                              (job_.folder / "checkpoints").string(), "."));
  }

  void scalar(const char* tag, std::int64_t done, double value) {
    events_.scalar(tag, done, static_cast<double>(std::time(nullptr)), static_cast<float>(value));
  }

  void log_step(std::int64_t done, double loss, const Progress& progress) {
    scalar("loss", done, loss);
    scalar("learning_rate", done, last_rate_);
    scalar("grad_norm", done, last_norm_);
    append_line(log_, nlohmann::json{{"step", done},
                                     {"loss", loss},
                                     {"learning_rate", last_rate_},
                                     {"grad_norm", last_norm_},
                                     {"samples", done * job_.batch},
                                     {"seconds", seconds_before_ + progress.seconds()}}
                          .dump());
  }

  // The loss of the EMA weights on fixed held-out examples with fixed noise, level by level.
  void validate(std::int64_t done, const Progress& progress) {
    const auto* denoising = dynamic_cast<const DenoisingObjective*>(job_.objective.get());
    if (!job_.held_out || denoising == nullptr) return;
    const c10::NoGradGuard no_grad;
    const SwappedWeights swapped(weights_, average_.tensors());
    std::vector<std::int64_t> indices;
    std::vector<std::uint64_t> samples;
    for (std::int64_t i = 0; i < std::min(kValidationExamples, job_.held_out->size()); ++i) {
      indices.push_back(i);
      samples.push_back(static_cast<std::uint64_t>(i));
    }
    const Batch batch = gather(*job_.held_out, indices);
    const at::Tensor x0 = job_.codec->encode(batch.data).to(job_.model->device);
    Condition condition;
    for (const auto& [name, tensor] : batch.condition) condition[name] = tensor.to(job_.model->device);
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
    const SwappedWeights swapped(weights_, average_.tensors());
    const std::string file = job_.preview(done);
    append_line(log_, nlohmann::json{{"step", done}, {"preview", file}}.dump());
    if (file.ends_with(".png"))
      events_.image("preview", done, static_cast<double>(std::time(nullptr)), event_image(read_file(job_.folder / file)));
  }

  void save(std::int64_t done, const Progress& progress) const {
    save_checkpoint(job_.folder / "checkpoints", {done, seconds_before_ + progress.seconds(), all_state()},
                    job_.config_hash);
    prune_checkpoints(job_.folder / "checkpoints", kKeptCheckpoints);
  }

  const TrainJob& job_;
  NamedTensors weights_;
  Loader loader_;
  AdamW optimizer_;
  WeightAverage average_;
  std::int64_t micro_batch_;
  std::filesystem::path log_;
  EventWriter events_;
  double seconds_before_ = 0, last_norm_ = 0, last_rate_ = 0;
};

}  // namespace

const std::vector<Option>& train_options() {
  static const std::vector<Option> options{
      {"steps", std::int64_t{500}, "updates of the weights", 1, 1e9},
      {"batch", std::int64_t{128}, "examples an update", 1, 1e7},
      {"micro_batch", std::int64_t{0}, "examples at a time; their gradients add up. 0: the whole batch", 0, 1e7},
      {"checkpoint_every", std::int64_t{100}, "steps", 1, 1e9},
      {"preview_every", std::int64_t{0}, "steps; 0 for none", 0, 1e9},
      {"validate_every", std::int64_t{0}, "steps; 0 for none", 0, 1e9},
      {"log_every", std::int64_t{10}, "steps", 1, 1e9},
      {"init", std::string(), "model directory whose weights to start from"}};
  return options;
}

const std::vector<Option>& ema_options() {
  static const std::vector<Option> options{{"decay", 0.999, "of the moving average of weights", 0.0, 0.9999999}};
  return options;
}

void train(const TrainJob& job) { Training(job).run(); }

}  // namespace thaw
