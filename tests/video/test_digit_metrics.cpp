// The readers of moving digits on real clips, and on clips broken in one way each.

#include <cmath>

#include <ATen/ATen.h>

#include "experiments/evaluation.h"
#include "modalities/video/digit_motion.h"
#include "modalities/video/digit_reader.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"

using namespace thaw;

namespace {

const char* const kMoving = R"(
seed: 3
dataset: {type: moving_digits, path: data/mnist, split: train, size: 60, side: 32, frames: 16, digits: 1, digit: 20, told: label}
codec: clip
backbone: {type: unet3d, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
evaluate: {n: 60, metrics: [digit_recognised, velocity_error, bounces_right], judge: models/digit_judge}
)";

Experiment moving(const std::vector<std::string>& settings = {}) {
  static const Catalog catalog = make_catalog();
  Config config = Config::parse(kMoving, "moving.yaml");
  apply_overrides(config, settings);
  return Experiment(std::move(config), catalog);
}

struct Clips {
  at::Tensor raw;
  std::vector<std::int64_t> labels;
};

Clips real_clips(const Experiment& experiment, std::int64_t n) {
  const Batch batch = examples(*experiment.held_out(), n);
  const at::Tensor labels = batch.condition.at("label");
  return {batch.data, {labels.data_ptr<std::int64_t>(), labels.data_ptr<std::int64_t>() + labels.numel()}};
}

// The digit of a clip's first frame, cut out, with its centre of gravity in the cut.
struct Cut {
  at::Tensor pixels;  // [h, w]
  double x = 0.0, y = 0.0;
};

Cut cut_out(const at::Tensor& clip_CTHW) {
  const at::Tensor frame = clip_CTHW[0][0];
  const at::Tensor rows = at::nonzero(frame.amax(1)).flatten(), columns = at::nonzero(frame.amax(0)).flatten();
  const std::int64_t top = rows[0].item<std::int64_t>(), bottom = rows[-1].item<std::int64_t>();
  const std::int64_t left = columns[0].item<std::int64_t>(), right = columns[-1].item<std::int64_t>();
  const at::Tensor centre = video::digit_centres(clip_CTHW.unsqueeze(0))[0][0];
  return {frame.narrow(0, top, bottom - top + 1).narrow(1, left, right - left + 1).clone(),
          centre[0].item<double>() - static_cast<double>(left), centre[1].item<double>() - static_cast<double>(top)};
}

// A clip of the digit with its square's corner at these places, to whole pixels; what leaves the frame is not seen.
void draw(const at::Tensor& clip_CTHW, std::int64_t t, const Cut& digit, const std::array<double, 2>& place) {
  const auto left = static_cast<std::int64_t>(std::lround(place[0] + 10 - digit.x));
  const auto top = static_cast<std::int64_t>(std::lround(place[1] + 10 - digit.y));
  const std::int64_t side = clip_CTHW.size(2), h = digit.pixels.size(0), w = digit.pixels.size(1);
  const std::int64_t y0 = std::max<std::int64_t>(0, -top), y1 = std::min(h, side - top);
  const std::int64_t x0 = std::max<std::int64_t>(0, -left), x1 = std::min(w, side - left);
  clip_CTHW[0][t].zero_();
  if (y1 <= y0 || x1 <= x0) return;
  clip_CTHW[0][t]
      .narrow(0, top + y0, y1 - y0)
      .narrow(1, left + x0, x1 - x0)
      .copy_(digit.pixels.narrow(0, y0, y1 - y0).narrow(1, x0, x1 - x0));
}

constexpr std::int64_t kClips = 40, kFrames = 16;
constexpr double kWay = 12.0;

// Motions of 40 clips, none of which turns from frame 4 to 12.
std::vector<video::Motion> free_motions() {
  std::vector<video::Motion> motions;
  for (int i = 0; static_cast<std::int64_t>(motions.size()) < kClips; ++i) {
    const auto share = [i](double step) { return std::fmod(0.137 + step * i, 1.0); };
    const video::Motion motion{share(0.381966), share(0.618034), 6.283185307179586 * share(0.7548777), 0.1};
    bool is_free = true;
    for (const auto& turn : video::judge_motion(video::trajectory_of(motion, kWay, kFrames + 5), {kWay, 1.2}).turns)
      is_free = is_free && (turn.frame < 4 || turn.frame > 12);
    if (is_free) motions.push_back(motion);
  }
  return motions;
}

std::string refusal(const std::vector<std::string>& settings) {
  try {
    const Experiment experiment = moving(settings);
    const Evaluator evaluator(experiment);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

CATCH_TEST_CASE("the centre of a digit is found to a fraction of a pixel, and nowhere in an empty frame",
                "[video][metrics]") {
  at::Tensor clip = at::zeros({1, 1, 3, 12, 16}, at::kByte);
  clip[0][0][0].narrow(0, 2, 2).narrow(1, 5, 4).fill_(200);  // rows 2 and 3, columns 5 to 8
  clip[0][0][0][11][0] = 60;                                 // haze
  clip[0][0][1][6].narrow(0, 3, 2).copy_(at::tensor({100, 200}, at::kByte));
  const at::Tensor centres = video::digit_centres(clip);
  CATCH_CHECK(centres[0][0][0].item<double>() == Catch::Approx(7.0).margin(1e-9));
  CATCH_CHECK(centres[0][0][1].item<double>() == Catch::Approx(3.0).margin(1e-9));
  CATCH_CHECK(centres[0][1][0].item<double>() == Catch::Approx((3.5 * 100 + 4.5 * 200) / 300).margin(1e-9));
  CATCH_CHECK(centres[0][1][1].item<double>() == Catch::Approx(6.5).margin(1e-9));
  CATCH_CHECK(centres[0][2].isnan().all().item<bool>());
}

CATCH_TEST_CASE("a digit cut out at its own size is the picture about its centre", "[video][metrics]") {
  const at::Tensor clip = at::randint(0, 256, {2, 1, 3, 32, 32}).to(at::kByte);
  const at::Tensor centres = at::full({2, 3, 2}, 15.0, at::kDouble);
  const at::Tensor cut = video::digit_pictures(clip, centres, 20, 20);
  CATCH_CHECK(at::equal(cut, clip.select(1, 0).reshape({6, 1, 32, 32}).narrow(2, 5, 20).narrow(3, 5, 20)));
}

CATCH_TEST_CASE("real moving digits are recognised, other labels are not", "[video][metrics]") {
  const Experiment experiment = moving();
  const Evaluator evaluator(experiment);
  const Clips real = real_clips(experiment, 60);
  const nlohmann::json measured = evaluator.measure(real.raw, real.labels);
  // Digits of 20 pixels scaled back to 28 lose a little: n = 60, 57 of them at least.
  CATCH_CHECK(measured["digit_recognised"] >= 0.95);
  CATCH_CHECK(measured["digit_recognised_always"] >= 0.9);
  CATCH_CHECK(measured["details"]["digit_recognised"]["n"] == 60);
  CATCH_CHECK(measured["per_sample"]["digit_recognised"].size() == 60);
  const nlohmann::json beside = evaluator.beside(60);
  CATCH_CHECK(beside["digit_recognised_ceiling"] == measured["digit_recognised"]);  // the same clips
  std::vector<std::int64_t> others;
  for (const std::int64_t label : real.labels) others.push_back((label + 1) % 10);
  CATCH_CHECK(evaluator.measure(real.raw, others)["digit_recognised"] <= 0.05);
  CATCH_CHECK_FALSE(evaluator.measure(real.raw, {}).contains("digit_recognised"));  // nothing was asked
}

CATCH_TEST_CASE("a digit that becomes another one is recognised in most frames and not in all", "[video][metrics]") {
  const Experiment experiment = moving();
  const Evaluator evaluator(experiment);
  const Clips real = real_clips(experiment, 20);
  at::Tensor changed = real.raw.clone();  // the last 5 frames are the next clip's
  for (std::int64_t i = 0; i < 20; ++i) changed[i].narrow(1, 11, 5).copy_(real.raw[(i + 1) % 20].narrow(1, 11, 5));
  const nlohmann::json before = evaluator.measure(real.raw, real.labels),
                       after = evaluator.measure(changed, real.labels);
  CATCH_CHECK(after["digit_recognised"] == before["digit_recognised"]);
  std::int64_t same = 0;
  for (std::size_t i = 0; i < 20; ++i) same += real.labels[i] == real.labels[(i + 1) % 20];
  CATCH_CHECK(after["digit_recognised_always"] <= static_cast<double>(same) / 20);
  // A clip that shows nothing is recognised as nothing, of any label.
  for (std::int64_t label = 0; label < 10; ++label)
    CATCH_CHECK(evaluator.measure(at::zeros_like(real.raw), std::vector<std::int64_t>(20, label))["digit_recognised"] ==
                0.0);
}

CATCH_TEST_CASE("each metric of moving digits notices its own defect and no other", "[video][metrics]") {
  const Experiment experiment = moving();
  const Evaluator evaluator(experiment);
  const Clips real = real_clips(experiment, kClips);
  const std::vector<video::Motion> motions = free_motions();
  at::Tensor right = at::zeros_like(real.raw), changed = right.clone(), jumped = right.clone(), passed = right.clone();
  for (std::int64_t n = 0; n < kClips; ++n) {
    const Cut own = cut_out(real.raw[n]);
    std::int64_t m = (n + 1) % kClips;
    while (real.labels[static_cast<std::size_t>(m)] == real.labels[static_cast<std::size_t>(n)]) m = (m + 1) % kClips;
    const Cut other = cut_out(real.raw[m]);
    const video::Motion& motion = motions[static_cast<std::size_t>(n)];
    const auto places = video::trajectory_of(motion, kWay, kFrames + 5);
    // Walls four pixels behind the edges, at the same speed.
    video::Motion wide = motion;
    wide.speed = motion.speed * kWay / (kWay + 8);
    const auto far = video::trajectory_of(wide, kWay + 8, kFrames);
    for (std::int64_t t = 0; t < kFrames; ++t) {
      const auto at = static_cast<std::size_t>(t);
      draw(right[n], t, own, places[at]);
      draw(changed[n], t, t < 11 ? own : other, places[at]);
      draw(jumped[n], t, own, places[t < 7 ? at : at + 5]);
      draw(passed[n], t, own, {far[at][0] - 4, far[at][1] - 4});
    }
  }
  const auto measure = [&](const at::Tensor& raw) { return evaluator.measure(raw, real.labels); };
  const nlohmann::json whole = measure(right);
  CATCH_CAPTURE(whole.dump());
  CATCH_CHECK(whole["digit_recognised_always"] >= 0.9);
  CATCH_CHECK(whole["velocity_error"] < 0.3);
  CATCH_CHECK(whole["bounces_right"] >= 0.95);
  const auto is_same = [&](const nlohmann::json& measured, const char* name, double margin) {
    CATCH_CAPTURE(name, measured[name].dump());
    CATCH_CHECK(std::abs(measured[name].get<double>() - whole[name].get<double>()) <= margin);
  };
  const nlohmann::json identity = measure(changed), jump = measure(jumped), wall = measure(passed);
  CATCH_CHECK(identity["digit_recognised_always"] <= 0.05);
  is_same(identity, "velocity_error", 0.1);
  is_same(identity, "bounces_right", 0.05);
  CATCH_CHECK(jump["velocity_error"].get<double>() > whole["velocity_error"].get<double>() + 0.4);
  is_same(jump, "digit_recognised_always", 0.05);
  is_same(jump, "bounces_right", 0.05);
  CATCH_CHECK(wall["bounces_right"] <= 0.5);
  is_same(wall, "velocity_error", 0.1);
  is_same(wall, "digit_recognised", 0.05);
}

CATCH_TEST_CASE("metrics of moving digits are refused where there is none, with the reason", "[video][errors]") {
  CATCH_CHECK_THAT(refusal({"dataset.told=caption"}), Catch::Contains("digit_recognised needs classes"));
  CATCH_CHECK_THAT(refusal({"evaluate.judge=\"\""}), Catch::Contains("digit_recognised needs evaluate.judge"));
  CATCH_CHECK_THAT(refusal({"evaluate.judge=models/digits"}), Catch::Contains("models/digits: is not a classifier"));
  CATCH_CHECK_THAT(refusal({"dataset={type: mnist, path: data/mnist, split: train}", "codec=unit_range",
                            "backbone={type: unet, width: 8}"}),
                   Catch::Contains("digit_recognised needs clips of one moving digit"));
  CATCH_CHECK_THAT(refusal({"evaluate.metrics=[digit_recognized]"}),
                   Catch::Contains("unknown metric \"digit_recognized\"") && Catch::Contains("\"digit_recognised\"") &&
                       Catch::Contains("Known: accuracy, "));
  CATCH_CHECK_THAT(refusal({"evaluate.metrics=[\"frechet weight=2\"]", "evaluate.features=models/digit_features"}),
                   Catch::Contains("weight: this key is not used by metric \"frechet\""));
}
