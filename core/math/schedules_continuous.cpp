#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/base/text.h"
#include "core/math/schedule.h"

namespace thaw {
namespace {

// lambda beyond +-10 is e^-10 = 4.5e-5 of noise or signal: below what float32 training sees.
std::vector<Option> lambda_range_options(double end = 10.0) {
  return {{"lambda_min", -end, "ln(alpha / sigma) of the noisiest level", -16.0, 16.0},
          {"lambda_max", end, "ln(alpha / sigma) of the cleanest noisy level", -16.0, 16.0},
          {"lambda_shift", 0.0,
           "added to lambda(t): ln(64 / pixels a side) in simple diffusion, ln(input scale) in "
           "Chen 2023",
           -8.0, 8.0}};
}

/// A variance-preserving schedule given by a formula on (0, 1), cut to [lambda_min, lambda_max].
class Cut : public Schedule {
 public:
  explicit Cut(const Settings& settings)
      : lambda_min_(settings.number("lambda_min")),
        lambda_max_(settings.number("lambda_max")),
        shift_(settings.number("lambda_shift")) {
    if (!(lambda_min_ < lambda_max_))
      settings.fail("lambda_max", concat("must be above lambda_min ", lambda_min_, ", got ", lambda_max_, "."));
  }

  double lambda(double t) const override {
    if (t <= t_min_) return lambda_max_;
    if (t >= t_max_) return lambda_min_;
    return std::clamp(formula(t) + shift_, lambda_min_, lambda_max_);
  }
  double time_of(double lambda) const override {
    if (lambda >= lambda_max_) return t_min_;
    if (lambda <= lambda_min_) return t_max_;
    return inverse(lambda - shift_);
  }
  const Path& path() const override { return variance_preserving(); }
  double t_min() const override { return t_min_; }
  double t_max() const override { return t_max_; }

 protected:
  virtual double formula(double t) const = 0;
  virtual double inverse(double lambda) const = 0;
  void set_ends() {
    t_min_ = inverse(lambda_max_ - shift_);
    t_max_ = inverse(lambda_min_ - shift_);
  }

 private:
  double lambda_min_, lambda_max_, shift_;
  double t_min_ = 0.0, t_max_ = 1.0;
};

double logistic(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

/// alpha^2 = f(t) / f(0), f(t) = cos^2(angle(t)), angle(t) = (t + offset) / (1 + offset) pi / 2.
class Cosine final : public Cut {
 public:
  explicit Cosine(const Settings& settings)
      : Cut(settings),
        scale_(0.5 * std::numbers::pi / (1.0 + settings.number("offset"))),
        start_(scale_ * settings.number("offset")) {
    set_ends();
  }
  std::string name() const override { return "cosine"; }

 protected:
  // cos^2(start) - cos^2(angle) = sin(angle - start) sin(angle + start): no cancellation near the clean end.
  double formula(double t) const override {
    const double gone = scale_ * t;
    return std::log(std::cos(start_ + gone)) - 0.5 * std::log(std::sin(gone) * std::sin(gone + 2.0 * start_));
  }
  double inverse(double lambda) const override {
    const double noise = std::sqrt(logistic(-2.0 * lambda)) * std::cos(start_);
    const double signal = std::sqrt(logistic(2.0 * lambda)) * std::cos(start_);
    const double angle = std::atan2(std::hypot(std::sin(start_), noise), signal);
    const double gone = start_ == 0.0 ? angle : near_start(angle, noise * noise);
    return gone / scale_;
  }

 private:
  // angle - start from the product of sines where the difference itself would cancel.
  double near_start(double angle, double product) const {
    const double gone = angle - start_;
    return gone > 0.5 ? gone : std::asin(product / std::sin(angle + start_));
  }

  double scale_, start_;
};

/// alpha^2 = (s(end) - s(u)) / (s(end) - s(start)), u = start + (end - start) t, s the logistic of u / tau.
class Sigmoid final : public Cut {
 public:
  explicit Sigmoid(const Settings& settings)
      : Cut(settings),
        start_(settings.number("start") / settings.number("tau")),
        end_(settings.number("end") / settings.number("tau")) {
    if (!(start_ < end_)) settings.fail("end", "must be above start.");
    set_ends();
  }
  std::string name() const override { return "sigmoid"; }

 protected:
  // s(a) - s(b) = sinh((a - b) / 2) / (2 cosh(a / 2) cosh(b / 2)): no cancellation near either end of time. The common
  // factor 1 / (2 cosh(u / 2)) drops out of the ratio.
  double formula(double t) const override {
    const double span = end_ - start_;
    const double signal = std::sinh(0.5 * span * (1.0 - t)) / std::cosh(0.5 * end_);
    const double noise = std::sinh(0.5 * span * t) / std::cosh(0.5 * start_);
    return 0.5 * std::log(signal / noise);
  }
  double inverse(double lambda) const override {
    // logit(s(start) + p) - logit(s(start)), without the cancellation near the clean end.
    const double first = logistic(start_);
    const double p = logistic(-2.0 * lambda) * (logistic(end_) - first);
    return (std::log1p(p / first) - std::log1p(-p / (1.0 - first))) / (end_ - start_);
  }

 private:
  double start_, end_;
};

/// log SNR = mu - b sign(1/2 - t) ln(1 - 2 |t - 1/2|).
class Laplace final : public Cut {
 public:
  explicit Laplace(const Settings& settings)
      : Cut(settings), mean_(settings.number("mean")), scale_(settings.number("scale")) {
    set_ends();
  }
  std::string name() const override { return "laplace"; }

 protected:
  double formula(double t) const override {
    const double log_snr = t < 0.5 ? mean_ - scale_ * std::log(2.0 * t) : mean_ + scale_ * std::log(2.0 * (1.0 - t));
    return 0.5 * log_snr;
  }
  double inverse(double lambda) const override {
    const double z = (2.0 * lambda - mean_) / scale_;
    return z > 0 ? 0.5 * std::exp(-z) : 1.0 - 0.5 * std::exp(z);
  }

 private:
  double mean_, scale_;
};

std::vector<Option> with_lambda_range(std::vector<Option> options, double end = 10.0) {
  const std::vector<Option> range = lambda_range_options(end);
  options.insert(options.end(), range.begin(), range.end());
  return options;
}

}  // namespace

void register_schedule_cosine(ScheduleRegistry& registry) {
  registry.add(
      {{.name = "cosine",
        .summary = "variance preserving, alpha = cos(pi t / 2), t in [0, 1]",
        .source = "Nichol and Dhariwal 2021, eq. 17; without offset Salimans and Ho 2022; shift: Hoogeboom et "
                  "al. 2023, eq. 8",
        .options = with_lambda_range({{"offset", 0.0, "of the angle, 0.008 in Nichol and Dhariwal 2021", 0.0, 0.5}})},
       [](const Settings& s) -> SchedulePtr { return std::make_shared<Cosine>(s); }});
}

void register_schedule_sigmoid(ScheduleRegistry& registry) {
  registry.add({{.name = "sigmoid",
                 .summary = "variance preserving, alpha^2 falls as a logistic curve, t in [0, 1]",
                 .source = "Jabri et al. 2022; Chen 2023, listing 1",
                 .options = with_lambda_range({{"start", -3.0, "argument at t = 0", -20.0, 20.0},
                                               {"end", 3.0, "argument at t = 1", -20.0, 20.0},
                                               {"tau", 1.0, "temperature", 0.05, 20.0}})},
                [](const Settings& s) -> SchedulePtr { return std::make_shared<Sigmoid>(s); }});
}

void register_schedule_laplace(ScheduleRegistry& registry) {
  registry.add({{.name = "laplace",
                 .summary = "variance preserving, log SNR Laplace distributed over t in [0, 1]",
                 .source = "Hang et al. 2024, \"Improved noise schedule for diffusion training\", table 1",
                 // Time is exponential in lambda: beyond 5 the noisy end lies nearer to 1 than a double resolves well.
                 .options = with_lambda_range(
                     {{"mean", 0.0, "of log SNR", -10.0, 10.0}, {"scale", 0.5, "of log SNR", 0.05, 10.0}}, 5.0)},
                [](const Settings& s) -> SchedulePtr { return std::make_shared<Laplace>(s); }});
}

}  // namespace thaw
