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
  for (double& value : alpha_bar) {
    const double root = (std::sqrt(value) - last) * first / (first - last);
    value = root * root;
  }
}

/// T variance-preserving levels from betas: alpha_t^2 = prod_{s <= t} (1 - beta_s), Ho et al. 2020, eq. 4.
class Table final : public Schedule {
 public:
  Table(std::string name, const std::vector<double>& betas, bool has_zero_terminal_snr) : name_(std::move(name)) {
    std::vector<double> alpha_bar = cumulative_signal(betas);
    if (has_zero_terminal_snr) rescale_to_zero_terminal_snr(alpha_bar);
    for (const double a : alpha_bar) {
      levels_.push_back({std::sqrt(a), std::sqrt(1.0 - a)});
      lambdas_.push_back(0.5 * std::log(a / (1.0 - a)));
    }
  }

  std::string name() const override { return name_; }
  double lambda(double t) const override {
    const auto [index, part] = split(t);
    if (part == 0.0) return lambdas_[index];
    return lambdas_[index] + part * (lambdas_[index + 1] - lambdas_[index]);
  }
  double time_of(double lambda) const override {
    if (lambda >= lambdas_.front()) return 0.0;
    if (lambda <= lambdas_.back()) return t_max();
    const auto below = std::upper_bound(lambdas_.begin(), lambdas_.end(), lambda, std::greater<>());
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
  double t_max() const override { return static_cast<double>(levels_.size() - 1); }
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
};

std::vector<Option> table_options(std::vector<Option> own) {
  std::vector<Option> options{{"timesteps", std::int64_t{1000}, "length of the table", 2, 1000000}};
  options.insert(options.end(), own.begin(), own.end());
  options.push_back({"zero_terminal_snr", false, "rescale so that the last level has no signal (Lin et al. 2023)"});
  return options;
}

std::vector<Option> beta_options(double start, double end) {
  return table_options({{"beta_start", start, "variance added at the first timestep", 1e-8, 0.999},
                        {"beta_end", end, "variance added at the last timestep", 1e-8, 0.999}});
}

SchedulePtr make_table(const std::string& name, const Settings& settings, const std::vector<double>& betas) {
  return std::make_shared<Table>(name, betas, settings.flag("zero_terminal_snr"));
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

// Nichol and Dhariwal 2021, eq. 17: beta_t = min(1 - f(t + 1) / f(t), 0.999).
std::vector<double> squared_cosine_betas(std::int64_t n, double offset) {
  const auto f = [&](std::int64_t i) {
    const double t = static_cast<double>(i) / static_cast<double>(n);
    const double c = std::cos((t + offset) / (1.0 + offset) * 0.5 * std::numbers::pi);
    return c * c;
  };
  std::vector<double> betas;
  for (std::int64_t i = 0; i < n; ++i) betas.push_back(std::min(1.0 - f(i + 1) / f(i), 0.999));
  return betas;
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
                  return make_table("squaredcos", s, squared_cosine_betas(s.integer("timesteps"), s.number("offset")));
                }});
}

}  // namespace thaw
