// Forward processes given as stochastic differential equations: VE, EDM, VP, sub-VP.

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/text.h"
#include "core/math/schedule.h"

namespace thaw {
namespace {

void expect_rising(const Settings& settings, double low, double high) {
  if (!(low < high)) settings.fail("sigma_max", concat("must be above sigma_min ", low, ", got ", high, "."));
}

/// t is the noise-to-signal ratio itself.
class Edm final : public Schedule {
 public:
  explicit Edm(const Settings& settings) : min_(settings.number("sigma_min")), max_(settings.number("sigma_max")) {
    expect_rising(settings, min_, max_);
  }
  std::string name() const override { return "edm"; }
  double lambda(double t) const override { return -std::log(std::clamp(t, min_, max_)); }
  double time_of(double lambda) const override { return std::clamp(std::exp(-lambda), min_, max_); }
  Level at(double t) const override { return {1.0, std::clamp(t, min_, max_)}; }
  const Path& path() const override { return variance_exploding(); }
  double t_min() const override { return min_; }
  double t_max() const override { return max_; }

 private:
  double min_, max_;
};

/// sigma = sigma_min (sigma_max / sigma_min)^t.
class Ve final : public Schedule {
 public:
  explicit Ve(const Settings& settings) : low_(std::log(settings.number("sigma_min"))) {
    expect_rising(settings, settings.number("sigma_min"), settings.number("sigma_max"));
    span_ = std::log(settings.number("sigma_max") / settings.number("sigma_min"));
  }
  std::string name() const override { return "ve"; }
  double lambda(double t) const override { return -(low_ + std::clamp(t, 0.0, 1.0) * span_); }
  double time_of(double lambda) const override { return std::clamp((-lambda - low_) / span_, 0.0, 1.0); }
  const Path& path() const override { return variance_exploding(); }
  double t_min() const override { return 0.0; }
  double t_max() const override { return 1.0; }

 private:
  double low_, span_ = 0.0;
};

/// alpha = e^(-B / 2), B the integral of beta(t) = beta_min + (beta_max - beta_min) t from 0.
class LinearBeta : public Schedule {
 public:
  explicit LinearBeta(const Settings& settings)
      : min_(settings.number("beta_min")),
        slope_(settings.number("beta_max") - min_),
        t_min_(settings.number("t_min")) {
    if (slope_ < 0.0)
      settings.fail("beta_max", concat("must be at least beta_min ", min_, ", got ", settings.number("beta_max"), "."));
  }
  double t_min() const override { return t_min_; }
  double t_max() const override { return 1.0; }

 protected:
  double integral(double t) const {
    t = std::clamp(t, t_min_, 1.0);
    return t * (min_ + 0.5 * slope_ * t);
  }
  double time_at(double integral) const {
    return std::clamp(2.0 * integral / (min_ + std::sqrt(min_ * min_ + 2.0 * slope_ * integral)), t_min_, 1.0);
  }

 private:
  double min_, slope_, t_min_;
};

class VpSde final : public LinearBeta {
 public:
  using LinearBeta::LinearBeta;
  std::string name() const override { return "vp_sde"; }
  // (sigma / alpha)^2 = e^B - 1.
  double lambda(double t) const override { return -0.5 * std::log(std::expm1(integral(t))); }
  double time_of(double lambda) const override { return time_at(std::log1p(std::exp(-2.0 * lambda))); }
  Level at(double t) const override {
    const double b = integral(t);
    return {std::exp(-0.5 * b), std::sqrt(-std::expm1(-b))};
  }
  const Path& path() const override { return variance_preserving(); }
};

class SubVpSde final : public LinearBeta {
 public:
  using LinearBeta::LinearBeta;
  std::string name() const override { return "sub_vp_sde"; }
  double lambda(double t) const override { return at(t).lambda(); }
  double time_of(double lambda) const override {
    const Level level = path().at(lambda);
    // e^-B is alpha^2 and 1 - sigma; each is exact at its own end.
    return time_at(level.sigma < 0.5 ? -std::log1p(-level.sigma) : -2.0 * std::log(level.alpha));
  }
  Level at(double t) const override {
    const double b = integral(t);
    return {std::exp(-0.5 * b), -std::expm1(-b)};
  }
  const Path& path() const override { return sub_variance_preserving(); }
};

std::vector<Option> linear_beta_options() {
  return {{"beta_min", 0.1, "rate of noise at t = 0", 1e-6, 100.0},
          {"beta_max", 20.0, "rate of noise at t = 1", 1e-6, 1000.0},
          {"t_min", 1e-3, "cleanest noisy time", 1e-7, 0.5}};
}

}  // namespace

void register_schedule_edm(ScheduleRegistry& registry) {
  registry.add({{.name = "edm",
                 .summary = "variance exploding, t = sigma",
                 .source = "Karras et al. 2022, section 3",
                 .options = {{"sigma_min", 0.002, "smallest noise", 1e-6, 1e3},
                             {"sigma_max", 80.0, "largest noise", 1e-3, 1e6}}},
                [](const Settings& s) -> SchedulePtr { return std::make_shared<Edm>(s); }});
}

void register_schedule_ve(ScheduleRegistry& registry) {
  registry.add({{.name = "ve",
                 .summary = "variance exploding, ln sigma even in t, t in [0, 1]",
                 .source = "Song et al. 2021 (score SDE), eq. 30",
                 .options = {{"sigma_min", 0.01, "noise at t = 0", 1e-6, 1e3},
                             {"sigma_max", 50.0, "noise at t = 1", 1e-3, 1e6}}},
                [](const Settings& s) -> SchedulePtr { return std::make_shared<Ve>(s); }});
}

void register_schedule_vp_sde(ScheduleRegistry& registry) {
  registry.add({{.name = "vp_sde",
                 .summary = "variance preserving in continuous time, rate of noise linear in t",
                 .source = "Song et al. 2021 (score SDE), eq. 32-33",
                 .options = linear_beta_options()},
                [](const Settings& s) -> SchedulePtr { return std::make_shared<VpSde>(s); }});
}

void register_schedule_sub_vp_sde(ScheduleRegistry& registry) {
  registry.add({{.name = "sub_vp_sde",
                 .summary = "the signal of vp_sde with sigma = 1 - alpha^2, on a path of its own",
                 .source = "Song et al. 2021 (score SDE), eq. 12 and 29",
                 .options = linear_beta_options()},
                [](const Settings& s) -> SchedulePtr { return std::make_shared<SubVpSde>(s); }});
}

}  // namespace thaw
