#include <cmath>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/base/text.h"
#include "core/math/philox.h"
#include "experiments/evaluation.h"
#include "experiments/pipeline.h"
#include "experiments/sampling.h"

namespace thaw {

namespace {

constexpr std::int64_t kShown = 10;
constexpr int kForwardFrames = 9;
constexpr std::int64_t kSheetColumns = 12;
constexpr std::int64_t kWithCaption = 24;

std::string numbered(const std::string& stem, std::size_t i) {
  return concat(stem, i < 10 ? "_0" : "_", i, ".png");
}

class PictureWriter {
 public:
  PictureWriter(const Codec& codec, std::filesystem::path folder) : codec_(codec), folder_(std::move(folder)) {}

  void add(const std::string& group, const std::string& file, const std::string& caption, const at::Tensor& raw,
           std::int64_t columns) {
    write_file(folder_ / file, codec_.sheet_png(raw, columns));
    index_[group].push_back({{"file", file}, {"caption", caption}});
  }
  /// One sample with what it was asked for; its number tells the report which verdict is its own.
  void add_sample(std::size_t number, const std::string& asked, const at::Tensor& raw) {
    add("samples", numbered("sample", number), asked, raw, 1);
    index_["samples"].back()["sample"] = number;
  }
  std::size_t count(const std::string& group) const { return index_.contains(group) ? index_[group].size() : 0; }
  void finish() const { write_file(folder_ / "index.json", index_.dump(1)); }

 private:
  const Codec& codec_;
  std::filesystem::path folder_;
  nlohmann::json index_ = nlohmann::json::object();
};

std::string caption_of(const Level& level) {
  return level.is_clean() ? "clean" : concat("log-SNR ", format_short(2 * level.lambda(), 3));
}

// The same examples, noisier and noisier, with one noise.
void add_forward(const Experiment& experiment, PictureWriter& pictures) {
  const Batch batch = examples(*experiment.dataset(), kShown);
  const at::Tensor x0 = experiment.codec()->encode(batch.data);
  at::Tensor eps = at::empty(x0.sizes(), at::kFloat);
  fill_normal({eps.data_ptr<float>(), static_cast<std::size_t>(eps.numel())},
              {experiment.seed(), Purpose::kEvaluate, 1, 1, 0});
  const Schedule& schedule = *experiment.schedule();
  for (int i = 0; i < kForwardFrames; ++i) {
    const double t = schedule.t_min() + (schedule.t_max() - schedule.t_min()) * i / (kForwardFrames - 1);
    const Level level = schedule.at(t);
    // Shown at unit scale: a variance-exploding state would only be clipped.
    const at::Tensor x = (x0 * level.alpha + eps * level.sigma) / std::max(1.0, std::hypot(level.alpha, level.sigma));
    pictures.add("forward", numbered("forward", static_cast<std::size_t>(i)), caption_of(level),
                 experiment.codec()->decode(x), kShown);
  }
}

void add_reverse(const Experiment& experiment, const Model& model, PictureWriter& pictures) {
  SampleRequest request = make_request(experiment, kShown);
  request.micro_batch = kShown;
  const auto shown = [&](const at::Tensor& x, const Level& level) {
    const double scale = std::max(1.0, std::hypot(level.alpha, level.sigma));
    return experiment.codec()->decode(x.narrow(0, 0, kShown) / scale);
  };
  sample(
      model, request, [](const at::Tensor&, std::int64_t) {},
      [&](const Mark& mark, const Latent& x, const Latent&) {
        if (mark.kind != MarkKind::kStep) return;
        pictures.add("reverse", numbered("reverse", pictures.count("reverse")),
                     concat("step ", mark.step + 1, ", ", caption_of(mark.level)), shown(x.main(), mark.level), kShown);
      });
}

}  // namespace

void write_pictures(const Experiment& experiment, const Model& model, const Samples& samples,
                    const std::filesystem::path& folder) {
  const at::Tensor& raw = samples.raw;
  const std::vector<std::int64_t>& labels = samples.labels;
  const std::vector<std::string>& captions = samples.captions;
  PictureWriter pictures(*experiment.codec(), folder);
  add_forward(experiment, pictures);
  add_reverse(experiment, model, pictures);
  const std::int64_t classes = std::min<std::int64_t>(experiment.data_spec().num_classes, 100);
  for (std::int64_t c = 0; c < classes; ++c) {
    std::vector<at::Tensor> own;
    for (std::size_t i = 0; i < labels.size() && own.size() < static_cast<std::size_t>(kSheetColumns); ++i)
      if (labels[i] == c) own.push_back(raw[static_cast<std::int64_t>(i)]);
    if (!own.empty())
      pictures.add("samples", concat("class_", c, ".png"), std::to_string(c), at::stack(own), kSheetColumns);
  }
  for (std::size_t i = 0; i < captions.size() && i < static_cast<std::size_t>(kWithCaption); ++i)
    pictures.add_sample(i, captions[i], raw.narrow(0, static_cast<std::int64_t>(i), 1));
  if (classes == 0 && captions.empty())
    pictures.add("samples", "samples.png", "samples", raw.narrow(0, 0, std::min<std::int64_t>(raw.size(0), 120)),
                 kSheetColumns);
  pictures.finish();
}

}  // namespace thaw
