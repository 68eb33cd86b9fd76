// What clips of moving digits are worth: whether the digit is the one asked for.

#include <ATen/ATen.h>

#include "core/base/text.h"
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
            {{"digit_recognised", list_of(share)}}};
  }

  std::shared_ptr<const DigitClips> clips_;
  TrainedClassifierPtr judge_;
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
}

}  // namespace thaw::video
