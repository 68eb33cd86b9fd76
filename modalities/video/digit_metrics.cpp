// What clips of moving digits are worth: whether the digit is the one asked for, and moves as digits do there.

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "modalities/video/digit_motion.h"
#include "modalities/video/digit_reader.h"
#include "modalities/video/list.h"
#include "modalities/video/moving_digits.h"

namespace thaw::video {

namespace {

std::vector<double> list_of(const at::Tensor& values) {
  const at::Tensor dense = values.to(at::kDouble).contiguous();
  return {dense.data_ptr<double>(), dense.data_ptr<double>() + dense.numel()};
}

std::shared_ptr<const DigitClips> digit_clips(const MetricParts& parts, const char* metric) {
  auto clips = std::dynamic_pointer_cast<const DigitClips>(parts.held_out);
  if (clips == nullptr || clips->digits() != 1)
    parts.section.fail(
        "metrics", concat(metric, " needs clips of one moving digit: dataset \"moving_digits\" with ", "digits: 1."));
  return clips;
}

/// The digit along the clip, by a judge of still digits: each frame's digit is found, cut out and named.
class DigitRecognised : public Metric {
 public:
  explicit DigitRecognised(const MetricParts& parts)
      : clips_(digit_clips(parts, "digit_recognised")), judge_(parts.judge) {
    const std::vector<std::int64_t>& takes = judge_->model->spec.shape;
    if (takes.size() != 3 || takes[0] != 1 || takes[1] != takes[2])
      parts.section.fail("judge", concat(judge_->path, " takes ", at::IntArrayRef(takes),
                                         ", and digits are judged in square pictures of one channel."));
    expect_takes(parts, *judge_, "judge", takes);
    expect_knows(parts, parts.spec.num_classes);
  }

  Measured measure(const Subject& subject) const override {
    if (subject.labels.empty()) return {};
    return read(subject.raw, at::tensor(subject.labels, at::kLong), "clips");
  }

  nlohmann::json beside(std::int64_t n) const override {
    const Batch real = examples(*clips_, n);
    const Measured measured = read(real.data, real.condition.at("label"), "real clips");
    nlohmann::json result;
    for (const Figure& figure : measured.figures) result[figure.name + "_ceiling"] = figure.value;
    result["by_place"]["digit_recognised"]["ceiling"] = measured.more["by_place"]["digit_recognised"]["samples"];
    return result;
  }

 private:
  Measured read(const at::Tensor& raw, const at::Tensor& labels_N, const std::string& what) const {
    const at::Tensor right = digit_classes(raw, clips_->digit_side(), *judge_).eq(labels_N.unsqueeze(1));
    const at::Tensor share = right.to(at::kDouble).mean(1);
    const std::string by =
        concat(" frames, each judged by ", judge_->named, "; ceiling: held-out clips through the same reader");
    const auto count = [](const at::Tensor& flags) { return flags.sum().item<std::int64_t>(); };
    return {{share_figure("digit_recognised", count(share > 0.5), raw.size(0),
                          concat("share of ", what, " that show the digit asked for in more than half of their", by)),
             share_figure("digit_recognised_always", count(share == 1.0), raw.size(0),
                          concat("share of ", what, " that show the digit asked for in all of their", by))},
            {{"digit_recognised", list_of(share)}},
            {{"by_place",
              {{"digit_recognised", {{"axis", "frame"}, {"samples", list_of(right.to(at::kDouble).mean(0))}}}}}}};
  }

  std::shared_ptr<const DigitClips> clips_;
  TrainedClassifierPtr judge_;
};

/// The motion of every clip, of where its digit's square must be by its centre of gravity.
std::vector<MotionVerdict> judge_motions(const at::Tensor& raw, const DigitClips& clips) {
  const at::Tensor corners = (digit_centres(raw) - 0.5 * static_cast<double>(clips.digit_side())).contiguous();
  const double* place = corners.data_ptr<double>();
  std::vector<MotionVerdict> verdicts;
  for (std::int64_t n = 0; n < corners.size(0); ++n) {
    Trajectory places;
    for (std::int64_t t = 0; t < corners.size(1); ++t, place += 2) places.push_back({place[0], place[1]});
    verdicts.push_back(judge_motion(places, {clips.way(), clips.speed()}));
  }
  return verdicts;
}

/// One reading of motions, of samples and of real clips.
class MotionMetric : public Metric {
 public:
  MotionMetric(const MetricParts& parts, const char* name) : clips_(digit_clips(parts, name)) {}
  Measured measure(const Subject& subject) const override { return read(judge_motions(subject.raw, *clips_)); }
  nlohmann::json beside(std::int64_t n) const override {
    nlohmann::json result;
    for (const Figure& figure : read(judge_motions(examples(*clips_, n).data, *clips_)).figures)
      result[figure.name + reference()] = figure.value;
    return result;
  }

 protected:
  virtual Measured read(const std::vector<MotionVerdict>& verdicts) const = 0;
  virtual const char* reference() const = 0;
  std::shared_ptr<const DigitClips> clips_;
};

class VelocityError : public MotionMetric {
 public:
  explicit VelocityError(const MetricParts& parts) : MotionMetric(parts, "velocity_error") {}

 private:
  Measured read(const std::vector<MotionVerdict>& verdicts) const override {
    std::vector<double> seen;
    nlohmann::json all = nlohmann::json::array();
    for (const MotionVerdict& verdict : verdicts) {
      all.push_back(std::isnan(verdict.velocity_error) ? nlohmann::json() : nlohmann::json(verdict.velocity_error));
      if (!std::isnan(verdict.velocity_error)) seen.push_back(verdict.velocity_error);
    }
    if (seen.size() < 2) return {{}, {{"velocity_error", all}}};
    return {{mean_figure("velocity_error", at::tensor(seen, at::kDouble),
                         concat("pixels a frame from constant velocity of ", format_short(clips_->speed()),
                                " pixels a frame between turns, by the centre of gravity over three frames, mean over ",
                                "the clips that show a digit in at least 5 frames; floor: held-out clips, which move ",
                                "by whole pixels"))},
            {{"velocity_error", all}}};
  }
  const char* reference() const override { return "_floor"; }
};

class BouncesRight : public MotionMetric {
 public:
  explicit BouncesRight(const MetricParts& parts) : MotionMetric(parts, "bounces_right") {}

 private:
  Measured read(const std::vector<MotionVerdict>& verdicts) const override {
    std::int64_t right = 0, n = 0;
    nlohmann::json all = nlohmann::json::array();
    for (const MotionVerdict& verdict : verdicts) {
      all.push_back(verdict.meets_edge() ? nlohmann::json(verdict.bounces_right() ? 1 : 0) : nlohmann::json());
      if (!verdict.meets_edge()) continue;
      ++n;
      right += verdict.bounces_right();
    }
    if (n == 0) return {{}, {{"bounces_right", all}}};
    return {
        {share_figure("bounces_right", right, n,
                      "share, of the clips whose digit turns or meets an edge, in which it turns at edges alone and "
                      "passes none, to 1.5 pixels by its centre of gravity; ceiling: held-out clips")},
        {{"bounces_right", all}}};
  }
  const char* reference() const override { return "_ceiling"; }
};

}  // namespace

void register_digit_metrics(MetricRegistry& registry) {
  registry.add({{"digit_recognised",
                 "Share of clips whose moving digit is the one asked for: in most frames, and in all of them.",
                 "",
                 {},
                 {"of_samples", "needs_classes", "needs_held_out", "needs_judge"}},
                [](const Settings&, const MetricParts& parts) -> MetricPtr {
                  return std::make_shared<DigitRecognised>(parts);
                }});
  registry.add(
      {{"velocity_error",
        "How far the velocity of a moving digit is from the constant one of the data, in pixels a frame.",
        "",
        {},
        {"of_samples", "needs_held_out"}},
       [](const Settings&, const MetricParts& parts) -> MetricPtr { return std::make_shared<VelocityError>(parts); }});
  registry.add(
      {{"bounces_right",
        "Share of clips whose moving digit turns at the frame's edges, and nowhere else.",
        "",
        {},
        {"of_samples", "needs_held_out"}},
       [](const Settings&, const MetricParts& parts) -> MetricPtr { return std::make_shared<BouncesRight>(parts); }});
}

}  // namespace thaw::video
