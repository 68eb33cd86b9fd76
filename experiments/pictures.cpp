#include <algorithm>
#include <cmath>
#include <numeric>

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
constexpr std::size_t kNearestShown = 6;
constexpr std::int64_t kShownColumns = 6;  // two sheets stand side by side

std::string numbered(const std::string& stem, std::size_t i) {
  return concat(stem, i < 10 ? "_0" : "_", i, ".png");
}

class PictureWriter {
 public:
  PictureWriter(const Codec& codec, std::filesystem::path folder) : codec_(codec), folder_(std::move(folder)) {}
  /// Goes on from what stands there, without these groups.
  void resume_without(const std::vector<std::string>& groups) {
    index_ = nlohmann::json::parse(read_file(folder_ / "index.json"));
    for (const std::string& group : groups) index_.erase(group);
  }

  void add(const std::string& group, const std::string& file, const std::string& caption, const at::Tensor& raw,
           std::int64_t columns) {
    if (codec_.shows_states()) return add_shown(group, std::filesystem::path(file).stem(), caption, raw);
    write_file(folder_ / file, codec_.sheet_png(raw, columns));
    index_[group].push_back({{"file", file}, {"caption", caption}});
  }
  /// As the codec shows samples.
  void add_shown(const std::string& group, const std::string& stem, const std::string& caption, const at::Tensor& raw) {
    std::string before;
    for (const std::string& file : codec_.write_shown(raw, kShownColumns, folder_, stem)) {
      const std::filesystem::path path(file);
      // A picture and the sound of the same name are one thing to see and hear.
      if (path.extension() == ".wav" && before == path.stem().string() + ".png")
        index_[group].back()["sound"] = file;
      else
        index_[group].push_back({{"file", file}, {"caption", caption}});
      before = file;
    }
  }
  /// One sample with what it was asked for; its number tells the report which verdict is its own.
  void add_sample(std::size_t number, const std::string& asked, const at::Tensor& raw) {
    add_shown("samples", concat("sample", number < 10 ? "_0" : "_", number), asked, raw);
    index_["samples"].back()["sample"] = number;
  }
  std::size_t count(const std::string& group) const { return index_.contains(group) ? index_[group].size() : 0; }
  // Names of folders come from outside: bytes that are no UTF-8 are replaced.
  void finish() const {
    write_file(folder_ / "index.json", index_.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  }

 private:
  const Codec& codec_;
  std::filesystem::path folder_;
  nlohmann::json index_ = nlohmann::json::object();
};

std::string caption_of(const Level& level) {
  return level.is_clean() ? "clean" : concat("log-SNR ", format_short(2 * level.lambda(), 3));
}

std::string class_name(const Dataset& dataset, std::int64_t c) {
  const std::vector<std::string> names = dataset.class_names();
  return c < static_cast<std::int64_t>(names.size()) ? names[static_cast<std::size_t>(c)] : std::to_string(c);
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
  request.level_map = {};  // states at one level are shown
  const bool two_runs = model.spec.shape.size() > 1 && grows(request, model.spec.shape[1]);
  const auto shown = [&](const at::Tensor& x, const Level& level) {
    const double scale = std::max(1.0, std::hypot(level.alpha, level.sigma));
    return experiment.codec()->decode(x.narrow(0, 0, kShown) / scale);
  };
  sample(
      model, request, [](const at::Tensor&, std::int64_t) {},
      [&](const Mark& mark, const Latent& x, const Latent&) {
        if (mark.kind != MarkKind::kStep) return;
        const bool is_grown = two_runs && x.main().size(2) == model.spec.shape[1];
        pictures.add("reverse", numbered("reverse", pictures.count("reverse")),
                     concat(is_grown ? "grown, step " : "step ", mark.step + 1, ", ", caption_of(mark.level)),
                     shown(x.main(), mark.level), kShown);
      });
}

// As many held-out examples of each class as there are samples of it; none where the data has no other split.
void add_real(const Experiment& experiment, const std::vector<std::int64_t>& wanted, PictureWriter& pictures) {
  const DatasetPtr data = experiment.held_out();
  if (!data) return;
  const auto classes = static_cast<std::int64_t>(wanted.size());
  if (classes == 0) {
    pictures.add_shown("real", "real", "held-out examples", examples(*data, kSheetColumns).data);
    return;
  }
  std::vector<std::vector<at::Tensor>> own(wanted.size());
  std::int64_t missing = std::accumulate(wanted.begin(), wanted.end(), std::int64_t{0});
  const std::int64_t searched = std::min<std::int64_t>(data->size(), 40 * missing);
  for (std::int64_t i = 0; i < searched && missing > 0; ++i) {
    const Condition condition = data->condition(i);
    const auto label = condition.find("label");
    if (label == condition.end()) return;
    const auto c = label->second.item<std::int64_t>();
    if (c >= classes) continue;
    std::vector<at::Tensor>& same = own[static_cast<std::size_t>(c)];
    if (static_cast<std::int64_t>(same.size()) >= wanted[static_cast<std::size_t>(c)]) continue;
    same.push_back(data->get(i).data);
    --missing;
  }
  for (std::int64_t c = 0; c < classes; ++c)
    if (const auto& all = own[static_cast<std::size_t>(c)]; !all.empty())
      pictures.add_shown("real", concat("real_", c), class_name(*data, c), at::stack(all));
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
  std::vector<std::int64_t> shown;
  for (std::int64_t c = 0; c < classes; ++c) {
    std::vector<at::Tensor> own;
    for (std::size_t i = 0; i < labels.size() && own.size() < static_cast<std::size_t>(kSheetColumns); ++i)
      if (labels[i] == c) own.push_back(raw[static_cast<std::int64_t>(i)]);
    if (!own.empty())
      pictures.add_shown("samples", concat("class_", c), class_name(*experiment.dataset(), c), at::stack(own));
    shown.push_back(static_cast<std::int64_t>(own.size()));
  }
  for (std::size_t i = 0; i < captions.size() && i < static_cast<std::size_t>(kWithCaption); ++i)
    pictures.add_sample(i, captions[i], raw.narrow(0, static_cast<std::int64_t>(i), 1));
  if (classes == 0 && captions.empty())
    pictures.add_shown("samples", "samples", "samples", raw.narrow(0, 0, std::min<std::int64_t>(raw.size(0), 120)));
  if (captions.empty()) add_real(experiment, shown, pictures);
  pictures.finish();
}

void write_reconstructions(const Codec& codec, const at::Tensor& original_raw, const at::Tensor& raw,
                           const std::filesystem::path& folder) {
  PictureWriter pictures(codec, folder);
  pictures.add_shown("reconstructions", "reconstruction", "held-out examples", raw);
  pictures.add_shown("originals", "original", "held-out examples", original_raw);
  pictures.finish();
}

void write_nearest(const Experiment& experiment, const Samples& samples, const nlohmann::json& measured,
                   const std::filesystem::path& folder) {
  const auto distances = measured.at("per_sample").at("nearest_training").get<std::vector<double>>();
  const auto indices = measured.at("per_sample").at("nearest_training_index").get<std::vector<std::int64_t>>();
  std::vector<std::size_t> order(distances.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return distances[i]; });
  if (order.size() > kNearestShown) order.resize(kNearestShown);
  PictureWriter pictures(*experiment.codec(), folder);
  pictures.resume_without({"nearest_samples", "nearest_training"});
  for (const std::size_t i : order) {
    const std::string caption = concat("sample ", i, ", distance ", format_short(distances[i], 3));
    const at::Tensor training = experiment.dataset()->get(indices[i]).data;
    pictures.add_shown("nearest_samples", concat("nearest_", i, "_sample"), caption,
                       samples.raw.narrow(0, static_cast<std::int64_t>(i), 1));
    pictures.add_shown("nearest_training", concat("nearest_", i, "_training"), caption, training.unsqueeze(0));
  }
  pictures.finish();
}

}  // namespace thaw
