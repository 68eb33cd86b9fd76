#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "core/base/text.h"
#include "core/math/schedule.h"

namespace thaw {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// sigma = s t / (1 + (s - 1) t), alpha = 1 - sigma; then alpha is stretched so that t_min has sigma = shift_terminal,
/// and kept at or above alpha_min.
class Flow final : public Schedule {
 public:
  Flow(std::string name, const Settings& settings, double shift)
      : name_(std::move(name)),
        shift_(shift),
        t_min_(settings.number("t_min")),
        t_max_(settings.number("t_max")),
        alpha_min_(settings.number("alpha_min")) {
    if (!(t_min_ < t_max_)) settings.fail("t_max", concat("must be above t_min ", t_min_, ", got ", t_max_, "."));
    const double terminal = settings.number("shift_terminal");
    if (terminal > 0.0) stretch_ = (1.0 - terminal) / plain(t_min_).alpha;
    if (!(at(t_min_).lambda() > at(t_max_).lambda()))
      settings.fail("alpha_min", concat("leaves no levels between t_min ", t_min_, " and t_max ", t_max_, "."));
  }

  std::string name() const override { return name_; }
  double lambda(double t) const override {
    t = std::clamp(t, t_min_, t_max_);
    const bool is_plain = stretch_ == 1.0 && alpha_min_ == 0.0;
    if (!is_plain) return at(t).lambda();
    return t == 1.0 ? -kInfinity : std::log((1.0 - t) / (shift_ * t));
  }
  double time_of(double lambda) const override {
    if (lambda <= this->lambda(t_max_)) return t_max_;
    if (stretch_ == 1.0) return std::clamp(1.0 / (1.0 + shift_ * std::exp(lambda)), t_min_, t_max_);
    const double alpha = 1.0 / (1.0 + std::exp(-lambda)) / stretch_;
    return std::clamp((1.0 - alpha) / (1.0 + (shift_ - 1.0) * alpha), t_min_, t_max_);
  }
  Level at(double t) const override {
    Level level = plain(std::clamp(t, t_min_, t_max_));
    if (stretch_ != 1.0) level = {level.alpha * stretch_, 1.0 - level.alpha * stretch_};
    return level.alpha < alpha_min_ ? Level{alpha_min_, 1.0 - alpha_min_} : level;
  }
  const Path& path() const override { return linear_path(); }
  double t_min() const override { return t_min_; }
  double t_max() const override { return t_max_; }

 private:
  Level plain(double t) const {
    const double divisor = 1.0 + (shift_ - 1.0) * t;
    return {(1.0 - t) / divisor, shift_ * t / divisor};
  }

  std::string name_;
  double shift_, t_min_, t_max_, alpha_min_;
  double stretch_ = 1.0;
};

/// t is the angle: alpha = cos t, sigma = sigma_data sin t.
class TrigFlow final : public Schedule {
 public:
  explicit TrigFlow(const Settings& settings)
      : sigma_data_(settings.number("sigma_data")), t_min_(settings.number("t_min")), t_max_(settings.number("t_max")) {
    if (!(t_min_ < t_max_)) settings.fail("t_max", concat("must be above t_min ", t_min_, ", got ", t_max_, "."));
  }
  std::string name() const override { return "trigflow"; }
  double lambda(double t) const override {
    t = std::clamp(t, t_min_, t_max_);
    return t == kRight ? -kInfinity : -std::log(sigma_data_ * std::tan(t));
  }
  double time_of(double lambda) const override {
    return std::clamp(std::atan(std::exp(-lambda) / sigma_data_), t_min_, t_max_);
  }
  Level at(double t) const override {
    t = std::clamp(t, t_min_, t_max_);
    // The double nearest to pi / 2 has the cosine 6e-17: no signal is meant.
    return t == kRight ? Level{0.0, sigma_data_} : Level{std::cos(t), sigma_data_ * std::sin(t)};
  }
  const Path& path() const override { return trigonometric_path(sigma_data_); }
  double t_min() const override { return t_min_; }
  double t_max() const override { return t_max_; }

 private:
  static constexpr double kRight = 0.5 * std::numbers::pi;
  double sigma_data_, t_min_, t_max_;
};

std::vector<Option> flow_options(std::vector<Option> options) {
  const std::vector<Option> common{
      {"t_min", 1e-4, "cleanest noisy time", 1e-7, 0.5},
      {"t_max", 1.0, "noisiest time; 1 has no signal", 0.5, 1.0},
      {"shift_terminal", 0.0, "alpha is stretched so that t_min has this sigma (LTX-Video); 0: not", 0.0, 0.999},
      {"alpha_min", 0.0, "smallest alpha; 1e-6 is what diffusers' UniPC starts from", 0.0, 0.1}};
  options.insert(options.end(), common.begin(), common.end());
  return options;
}

// diffusers' calculate_shift: mu is linear in the number of image tokens.
double resolution_shift(const Settings& settings) {
  const double base = settings.number("base_image_seq_len"), most = settings.number("max_image_seq_len");
  if (!(base < most))
    settings.fail("max_image_seq_len", concat("must be above base_image_seq_len ", base, ", got ", most, "."));
  const double slope = (settings.number("max_shift") - settings.number("base_shift")) / (most - base);
  const double mu = settings.number("image_seq_len") * slope + settings.number("base_shift") - slope * base;
  if (settings.text("time_shift") == "exponential") return std::exp(mu);
  if (mu > 0.0) return mu;
  settings.fail("image_seq_len", concat("gives the shift ", format_short(mu), "; it must be above 0."));
}

}  // namespace

void register_schedule_flow(ScheduleRegistry& registry) {
  registry.add({{.name = "flow",
                 .summary = "straight line x = (1 - t) x0 + t eps, with a resolution shift of t",
                 .source = "Lipman et al. 2023; Liu et al. 2023; shift: Esser et al. 2024, eq. 23",
                 .options = flow_options({{"shift", 1.0, "sigma = shift t / (1 + (shift - 1) t)", 0.01, 100.0}}),
                 .traits = {"reaches_alpha_zero"}},
                [](const Settings& s) -> SchedulePtr { return std::make_shared<Flow>("flow", s, s.number("shift")); }});
}

void register_schedule_flow_dynamic(ScheduleRegistry& registry) {
  registry.add({{.name = "flow_dynamic",
                 .summary = "flow whose shift follows the number of image tokens",
                 .source = "Flux and Stable Diffusion 3, as diffusers' FlowMatchEulerDiscreteScheduler computes it",
                 .options = flow_options({{"image_seq_len", 4096.0, "number of image tokens", 1.0, 1e7},
                                          {"base_image_seq_len", 256.0, "tokens that have base_shift", 1.0, 1e7},
                                          {"max_image_seq_len", 4096.0, "tokens that have max_shift", 1.0, 1e7},
                                          {"base_shift", 0.5, "mu at base_image_seq_len", -10.0, 10.0},
                                          {"max_shift", 1.15, "mu at max_image_seq_len", -10.0, 10.0},
                                          Option{.name = "time_shift",
                                                 .fallback = std::string("exponential"),
                                                 .help = "the shift is exp(mu) or mu itself",
                                                 .choices = {"exponential", "linear"}}}),
                 .traits = {"reaches_alpha_zero"}},
                [](const Settings& s) -> SchedulePtr {
                  return std::make_shared<Flow>("flow_dynamic", s, resolution_shift(s));
                }});
}

void register_schedule_trigflow(ScheduleRegistry& registry) {
  constexpr double kRight = 0.5 * std::numbers::pi;
  registry.add({{.name = "trigflow",
                 .summary = "alpha = cos t, sigma = sigma_data sin t, t the angle up to pi / 2",
                 .source = "Lu and Song 2024, section 3 (TrigFlow)",
                 .options = {{"sigma_data", 0.5, "standard deviation of encoded data, and of the noise", 1e-6, 1e6},
                             {"t_min", 1e-4, "cleanest noisy angle", 1e-7, 0.5},
                             {"t_max", kRight, "noisiest angle; pi / 2 has no signal", 0.5, kRight}},
                 .traits = {"reaches_alpha_zero"}},
                [](const Settings& s) -> SchedulePtr { return std::make_shared<TrigFlow>(s); }});
}

}  // namespace thaw
