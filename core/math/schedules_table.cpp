#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "core/base/text.h"
#include "core/math/schedule.h"

namespace thaw {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> cumulative_signal(const std::vector<double>& betas) {
  std::vector<double> result;
  result.reserve(betas.size());
  double product = 1.0;
  for (const double beta : betas) result.push_back(product *= 1.0 - beta);
  return result;
}

// Lin et al. 2023, algorithm 1: shift sqrt(alpha_bar) so that the last one is 0 and the first one stays.
void rescale_to_zero_terminal_snr(std::vector<double>& alpha_bar) {
  const double first = std::sqrt(alpha_bar.front());
  const double last = std::sqrt(alpha_bar.back());
  // An ulp of alpha_bar near 1 is 1e-12 of the first sigma: the factor is rounded as in published code.
  const double factor = first / (first - last);
  for (double& value : alpha_bar) {
    const double root = (std::sqrt(value) - last) * factor;
    value = root * root;
  }
}

/// What is done to the products of 1 - beta, in this order.
struct Changes {
  double snr_shift = 1.0;
  bool has_zero_terminal_snr = false;
  double last_alpha_bar = 0.0;  // 0: as computed
  double lambda_min = -std::numeric_limits<double>::infinity();
};

/// T variance-preserving levels from betas: alpha_t^2 = prod_{s <= t} (1 - beta_s), Ho et al. 2020, eq. 4.
class Table final : public Schedule {
 public:
  Table(std::string name, const std::vector<double>& betas, const Changes& changes) : name_(std::move(name)) {
    std::vector<double> alpha_bar = cumulative_signal(betas);
    // CogVideoX, released scheduler: (sigma / alpha)^2 times snr_shift.
    for (double& a : alpha_bar) a /= changes.snr_shift + (1.0 - changes.snr_shift) * a;
    if (changes.has_zero_terminal_snr) rescale_to_zero_terminal_snr(alpha_bar);
    if (changes.last_alpha_bar > 0.0) alpha_bar.back() = changes.last_alpha_bar;
    for (const double a : alpha_bar) {
      levels_.push_back({std::sqrt(a), std::sqrt(1.0 - a)});
      lambdas_.push_back(0.5 * std::log(a / (1.0 - a)));
    }
    while (used_ < lambdas_.size() && lambdas_[used_] >= changes.lambda_min) ++used_;
  }

  std::string name() const override { return name_; }
  double lambda(double t) const override {
    const auto [index, part] = split(t);
    if (part == 0.0) return lambdas_[index];
    return lambdas_[index] + part * (lambdas_[index + 1] - lambdas_[index]);
  }
  double time_of(double lambda) const override {
    // last_alpha_bar may have more signal than the timestep before it; the rest of the table falls.
    if (lambda >= lambdas_.front()) return 0.0;
    if (lambda <= lambdas_[used_ - 1]) return t_max();
    const auto end = lambdas_.begin() + static_cast<std::ptrdiff_t>(used_);
    const auto below = std::upper_bound(lambdas_.begin(), end, lambda, std::greater<>());
    const auto i = static_cast<std::size_t>(below - lambdas_.begin());  // lambdas_[i - 1] >= lambda > lambdas_[i]
    if (lambdas_[i] == -kInfinity) return static_cast<double>(lambdas_[i - 1] == lambda ? i - 1 : i);
    return static_cast<double>(i - 1) + (lambdas_[i - 1] - lambda) / (lambdas_[i - 1] - lambdas_[i]);
  }
  Level at(double t) const override {
    const auto [index, part] = split(t);
    return part == 0.0 ? levels_[index] : path().at(lambda(t));
  }
  const Path& path() const override { return variance_preserving(); }
  double t_min() const override { return 0.0; }
  double t_max() const override { return static_cast<double>(used_ - 1); }
  std::int64_t discrete_steps() const override { return static_cast<std::int64_t>(levels_.size()); }

 private:
  std::pair<std::size_t, double> split(double t) const {
    t = std::clamp(t, 0.0, t_max());
    const double floor = std::floor(t);
    return {static_cast<std::size_t>(floor), t - floor};
  }

  std::string name_;
  std::vector<Level> levels_;
  std::vector<double> lambdas_;
  std::size_t used_ = 1;  // the cleanest one always is
};

std::vector<Option> with_changes(std::vector<Option> options) {
  const std::vector<Option> common{
      {"zero_terminal_snr", false, "rescale so that the last level has no signal (Lin et al. 2023)"},
      {"snr_shift", 1.0, "factor on (sigma / alpha)^2, before the rescaling (CogVideoX: 3)", 1e-6, 1e6},
      {"last_alpha_bar", 0.0, "put at the last timestep in the end (diffusers: 2^-24 when it rescales); 0: as computed",
       0.0, 1.0},
      {"lambda_cut", -1e3, "timesteps with ln(alpha / sigma) below this are left out", -1e3, 16.0}};
  options.insert(options.end(), common.begin(), common.end());
  return options;
}

std::vector<Option> table_options(std::vector<Option> own = {}) {
  std::vector<Option> options{{"timesteps", std::int64_t{1000}, "length of the table", 2, 1000000}};
  options.insert(options.end(), own.begin(), own.end());
  return with_changes(std::move(options));
}

std::vector<Option> beta_options(double start, double end) {
  return table_options({{"beta_start", start, "variance added at the first timestep", 1e-8, 0.999},
                        {"beta_end", end, "variance added at the last timestep", 1e-8, 0.999}});
}

SchedulePtr make_table(const std::string& name, const Settings& settings, const std::vector<double>& betas) {
  const double cut = settings.number("lambda_cut");
  auto table = std::make_shared<Table>(name, betas,
                                       Changes{.snr_shift = settings.number("snr_shift"),
                                               .has_zero_terminal_snr = settings.flag("zero_terminal_snr"),
                                               .last_alpha_bar = settings.number("last_alpha_bar"),
                                               .lambda_min = cut > -1e3 ? cut : -kInfinity});
  if (table->t_max() < 1.0)
    settings.fail("lambda_cut", concat("leaves ", table->t_max() + 1.0, " timestep of ", betas.size(), "."));
  return table;
}

// Betas spaced evenly after `forward` and brought back by `backward`.
template <class Forward, class Backward>
std::vector<double> spaced_betas(const Settings& settings, Forward forward, Backward backward) {
  const double first = forward(settings.number("beta_start"));
  const double last = forward(settings.number("beta_end"));
  const auto n = settings.integer("timesteps");
  std::vector<double> betas;
  for (std::int64_t i = 0; i < n; ++i)
    betas.push_back(backward(first + (last - first) * static_cast<double>(i) / static_cast<double>(n - 1)));
  return betas;
}

// Nichol and Dhariwal 2021, eq. 17: beta_t = min(1 - f(t + 1) / f(t), 0.999) for any falling signal f.
template <class Signal>
std::vector<double> betas_of(std::int64_t n, Signal f) {
  const auto at = [&](std::int64_t i) { return f(static_cast<double>(i) / static_cast<double>(n)); };
  std::vector<double> betas;
  for (std::int64_t i = 0; i < n; ++i) betas.push_back(std::min(1.0 - at(i + 1) / at(i), 0.999));
  return betas;
}

double squared_cosine(double t, double offset) {
  const double c = std::cos((t + offset) / (1.0 + offset) * 0.5 * std::numbers::pi);
  return c * c;
}

// The square root of alpha_bar stands where alpha_bar should: diffusers' own, which its trained models need.
double laplace_signal(double t) {
  const double log_snr = -0.5 * std::copysign(1.0, 0.5 - t) * std::log(1.0 - 2.0 * std::abs(0.5 - t) + 1e-6);
  return std::sqrt(1.0 / (1.0 + std::exp(-log_snr)));
}

}  // namespace

void register_schedule_linear(ScheduleRegistry& registry) {
  registry.add({{.name = "linear",
                 .summary = "table of T timesteps, betas evenly spaced",
                 .source = "Ho et al. 2020, section 4",
                 .options = beta_options(1e-4, 0.02),
                 .traits = {"discrete"}},
                [](const Settings& s) {
                  const auto same = [](double x) { return x; };
                  return make_table("linear", s, spaced_betas(s, same, same));
                }});
}

void register_schedule_scaled_linear(ScheduleRegistry& registry) {
  registry.add({{.name = "scaled_linear",
                 .summary = "table of T timesteps, square roots of betas evenly spaced (Stable Diffusion)",
                 .source = "Rombach et al. 2022, released code, make_beta_schedule \"linear\"",
                 .options = beta_options(0.00085, 0.012),
                 .traits = {"discrete"}},
                [](const Settings& s) {
                  return make_table("scaled_linear", s,
                                    spaced_betas(
                                        s, [](double x) { return std::sqrt(x); }, [](double x) { return x * x; }));
                }});
}

void register_schedule_squaredcos(ScheduleRegistry& registry) {
  registry.add({{.name = "squaredcos",
                 .summary = "table of T timesteps, alpha_bar a squared cosine, betas capped at 0.999",
                 .source = "Nichol and Dhariwal 2021, eq. 17",
                 .options = table_options({{"offset", 0.008, "keeps the first betas from vanishing", 0.0, 0.5}}),
                 .traits = {"discrete"}},
                [](const Settings& s) {
                  const double offset = s.number("offset");
                  return make_table("squaredcos", s, betas_of(s.integer("timesteps"), [&](double t) {
                                      return squared_cosine(t, offset);
                                    }));
                }});
}

void register_schedule_sigmoid_betas(ScheduleRegistry& registry) {
  registry.add({{.name = "sigmoid_betas",
                 .summary = "table of T timesteps, betas on a logistic curve from -6 to 6",
                 .source = "Xu et al. 2022 (GeoDiff), released code; diffusers DDPMScheduler \"sigmoid\"",
                 .options = beta_options(1e-4, 0.02),
                 .traits = {"discrete"}},
                [](const Settings& s) {
                  const double start = s.number("beta_start"), rise = s.number("beta_end") - start;
                  const auto n = static_cast<double>(s.integer("timesteps"));
                  std::vector<double> betas;
                  for (double i = 0.0; i < n; ++i)
                    betas.push_back(start + rise / (1.0 + std::exp(6.0 - 12.0 * i / (n - 1.0))));
                  return make_table("sigmoid_betas", s, betas);
                }});
}

void register_schedule_exp_betas(ScheduleRegistry& registry) {
  registry.add({{.name = "exp_betas",
                 .summary = "table of T timesteps, alpha_bar = e^(-12 t), betas capped at 0.999",
                 .source = "diffusers betas_for_alpha_bar, alpha_transform_type \"exp\"",
                 .options = table_options(),
                 .traits = {"discrete"}},
                [](const Settings& s) {
                  return make_table("exp_betas", s,
                                    betas_of(s.integer("timesteps"), [](double t) { return std::exp(-12.0 * t); }));
                }});
}

void register_schedule_laplace_betas(ScheduleRegistry& registry) {
  registry.add({{.name = "laplace_betas",
                 .summary = "table of T timesteps from a Laplace curve of log SNR, as diffusers has it",
                 .source = "diffusers betas_for_alpha_bar, alpha_transform_type \"laplace\"; after Hang et al. 2024",
                 .options = table_options(),
                 .traits = {"discrete"}},
                [](const Settings& s) {
                  return make_table("laplace_betas", s, betas_of(s.integer("timesteps"), laplace_signal));
                }});
}

void register_schedule_betas(ScheduleRegistry& registry) {
  registry.add({{.name = "betas",
                 .summary = "table of the betas given",
                 .source = "Ho et al. 2020, eq. 4; diffusers trained_betas",
                 .options = with_changes({Option{.name = "betas",
                                                 .fallback = std::vector<double>{},
                                                 .help = "variance added at each timestep, cleanest first",
                                                 .minimum = 1e-12,
                                                 .maximum = 0.99999999,
                                                 .required = true}}),
                 .traits = {"discrete"}},
                [](const Settings& s) {
                  const std::vector<double>& betas = s.numbers("betas");
                  if (betas.size() < 2) s.fail("betas", concat("needs at least 2 numbers, got ", betas.size(), "."));
                  return make_table("betas", s, betas);
                }});
}

}  // namespace thaw
